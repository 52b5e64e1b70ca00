/** Names of series and selectors in the syntax of PromQL. */

export type LabelMap = Record<string, string>;

const isPlainName = (name: string): boolean => /^[A-Za-z_:][A-Za-z0-9_:]*$/.test(name);
const isPlainLabel = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);

export const quote = (text: string): string => `"${text.replace(/\\/g, '\\\\').replace(/"/g, '\\"').replace(/\n/g, '\\n')}"`;

/** Quotes a label's name if PromQL needs that. */
export const labelName = (name: string): string => (isPlainLabel(name) ? name : quote(name));

/** The labels without the metric's name, sorted by name. */
export function otherLabels(labels: LabelMap): [string, string][] {
  return Object.entries(labels)
    .filter(([name]) => name !== '__name__')
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

/** The names of labels that all of several series have with the same value, except the metric's name. */
export function commonLabels(all: LabelMap[]): Set<string> {
  const [first, ...others] = all;
  if (!first || others.length === 0) return new Set();
  const isCommon = ([name, value]: [string, string]) => others.every((labels) => labels[name] === value);
  return new Set(otherLabels(first).filter(isCommon).map(([name]) => name));
}

/** A selector of exactly these labels; also the name under which a series is shown. */
export function formatSeries(labels: LabelMap): string {
  const metric = labels.__name__ ?? '';
  const matchers = otherLabels(labels).map(([name, value]) => `${labelName(name)}=${quote(value)}`);
  if (metric && !isPlainName(metric)) return `{${[quote(metric), ...matchers].join(', ')}}`;
  if (metric && matchers.length === 0) return metric;
  return `${metric}{${matchers.join(', ')}}`;
}

/** A selector of a metric with further matchers, which are in PromQL's syntax already. */
export function selector(metric: string, matchers: string[] = []): string {
  if (!isPlainName(metric)) return `{${[quote(metric), ...matchers].join(', ')}}`;
  return matchers.length ? `${metric}{${matchers.join(', ')}}` : metric;
}

/** Escapes text that a regular expression should match literally. */
export const escapeRegex = (text: string): string => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
