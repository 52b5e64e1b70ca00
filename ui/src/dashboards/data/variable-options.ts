/** Finds the options of variables, of which queries ask the server for a limited number. */
import { get } from '../../api/client';
import { type Searched, find, recent } from '../../api/search';
import { parseValue } from '../../format/number';
import { formatSeries, type LabelMap } from '../../format/series';
import { ALL, type Chosen, type Option, type Variable } from '../model';
import { readPattern } from './display';
import { type Scope, interpolate, mentioned } from './interpolate';
import type { TimeRange } from './time-range';

/** Most options that are asked for. */
export const MAX_OPTIONS = 1000;

/** A variable query as it is understood. */
export type Asked =
  | { kind: 'values'; label: string; selector: string }
  | { kind: 'names'; selector: string }
  | { kind: 'metrics'; pattern: string }
  | { kind: 'result'; expr: string }
  | { kind: 'series'; selector: string };

/** Reads `label_values(…)`, `label_names(…)`, `metrics(…)`, `query_result(…)`, or a selector of series. */
export function readVariableQuery(query: string): Asked {
  const call = /^(label_values|label_names|metrics|query_result)\s*\(([\s\S]*)\)\s*$/.exec(query.trim());
  const inside = (call?.[2] ?? '').trim();
  switch (call?.[1]) {
    case 'label_values': {
      // The label is what follows the last comma outside of the selector.
      const parts = /^([\s\S]*),\s*("[^"]+"|[\w.:$\]{}[]+)\s*$/.exec(inside);
      const label = (parts?.[2] ?? inside).replace(/^"|"$/g, '');
      return { kind: 'values', label, selector: parts?.[1]?.trim() ?? '' };
    }
    case 'label_names':
      return { kind: 'names', selector: inside };
    case 'metrics':
      return { kind: 'metrics', pattern: inside };
    case 'query_result':
      return { kind: 'result', expr: inside };
    default:
      return { kind: 'series', selector: query.trim() };
  }
}

/** What the server searches for further values of a variable; null if it is not searched. */
export function searchedBy(asked: Asked): { what: Searched; selector: string | undefined } | null {
  switch (asked.kind) {
    case 'values': return { what: { valuesOf: asked.label }, selector: asked.selector || undefined };
    case 'names': return { what: { names: 'label' }, selector: asked.selector || undefined };
    case 'metrics': return { what: { names: 'metric' }, selector: undefined };
    default: return null;
  }
}

interface Found {
  options: Option[];
  isTruncated: boolean;
  search?: Chosen['search'];
}

interface Vector { resultType: string; result: { metric: LabelMap; value: [number, string] }[] | [number, string] }

async function ask(asked: Asked, range: TimeRange, signal: AbortSignal): Promise<{ texts: string[]; isTruncated: boolean }> {
  const times = { start: String(Math.floor(range.fromMs / 1000)), end: String(Math.ceil(range.toMs / 1000)), limit: String(MAX_OPTIONS) };
  const names = async (path: string, selector: string | undefined) => {
    const { data, warnings } = await get<string[]>(path, { 'match[]': selector || undefined, ...times }, signal);
    return { texts: data, isTruncated: warnings.some((warning) => warning.includes('truncated')) };
  };
  switch (asked.kind) {
    case 'values':
      return names(`label/${encodeURIComponent(asked.label)}/values`, asked.selector);
    case 'names':
      return names('labels', asked.selector);
    case 'metrics':
      return names('label/__name__/values', `{__name__=~".*(?:${asked.pattern.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}).*"}`);
    case 'result': {
      const { data } = await get<Vector>('query', { query: asked.expr, time: times.end, limit: times.limit }, signal);
      if (data.resultType !== 'vector') return { texts: [String((data.result as [number, string])[1])], isTruncated: false };
      const rows = data.result as { metric: LabelMap; value: [number, string] }[];
      return { texts: rows.map(({ metric, value }) => `${formatSeries(metric)} ${value[1]} ${value[0] * 1000}`), isTruncated: rows.length >= MAX_OPTIONS };
    }
    case 'series': {
      const { data } = await get<LabelMap[]>('series', { 'match[]': asked.selector, ...times, start: recent() }, signal);
      return { texts: data.map(formatSeries), isTruncated: data.length >= MAX_OPTIONS };
    }
  }
}

/** Takes from each text what the pattern of the variable captures. Texts that it does not match are left out. */
export function applyRegex(texts: string[], written: string): Option[] {
  const pattern = written ? readPattern(written) : null;
  const options = texts.flatMap((whole): Option[] => {
    if (!pattern) return [{ text: whole, value: whole }];
    const match = pattern.exec(whole);
    if (!match) return [];
    const { text, value } = match.groups ?? {};
    const plain = value ?? text ?? match[1] ?? whole;
    return [{ text: text ?? plain, value: value ?? plain }];
  });
  return [...new Map(options.map((option) => [option.value, option])).values()];
}

/** Sorts options in the ways that variables know: by letters, as numbers, without case, or as people count. */
export function sortOptions(options: Option[], sort: number): Option[] {
  if (sort === 0) return options;
  const numeric = ({ text }: Option) => parseValue(/-?\d+(?:\.\d+)?/.exec(text)?.[0] ?? 'NaN');
  const compare = (a: Option, b: Option): number => {
    if (sort === 3 || sort === 4) return numeric(a) - numeric(b) || 0;
    if (sort === 5 || sort === 6) return a.text.toLowerCase() < b.text.toLowerCase() ? -1 : 1;
    if (sort === 7 || sort === 8) return a.text.localeCompare(b.text, 'en', { numeric: true });
    return a.text < b.text ? -1 : a.text > b.text ? 1 : 0;
  };
  const sorted = options.toSorted(compare);
  return sort % 2 === 0 ? sorted.reverse() : sorted;
}

/** The options of one variable, given the variables that it mentions. */
async function optionsOf(variable: Variable, scope: Scope, range: TimeRange, signal: AbortSignal): Promise<Found> {
  switch (variable.kind) {
    case 'query': {
      const asked = readVariableQuery(interpolate(variable.query, scope, 'query'));
      const { texts, isTruncated } = await ask(asked, range, signal);
      const regex = interpolate(variable.regex, scope, 'query');
      const by = isTruncated ? searchedBy(asked) : null;
      const search = by && ((typed: string, signal: AbortSignal) => find(by.what, typed, by.selector, signal, String(Math.floor(range.fromMs / 1000))).then((matches) => applyRegex(matches.texts, regex)));
      return { options: sortOptions(applyRegex(texts, regex), variable.sort), isTruncated, ...(search ? { search } : {}) };
    }
    case 'custom':
    case 'interval':
      return { options: variable.options, isTruncated: false };
    case 'datasource':
      return { options: [{ text: document.title.split(' · ').at(-1) ?? 'This server', value: 'default' }], isTruncated: false };
    default:
      return { options: [], isTruncated: false };
  }
}

/** Keeps wanted values that exist, and otherwise chooses as Grafana does: the first option, or all. */
export function choose(variable: Variable, found: Found, wanted: string[] | null): string[] {
  const { kind, isMulti, hasAll, initial } = variable;
  if (kind === 'constant' || kind === 'textbox' || kind === 'adhoc' || kind === 'unknown') return wanted ?? initial;
  const isKnown = (value: string) => (value === ALL ? hasAll : found.isTruncated || found.options.some((option) => option.value === value));
  const asAll = (values: string[]) => values.map((value) => (value === 'All' && hasAll && !found.options.some((option) => option.value === 'All') ? ALL : value));
  for (const values of [wanted, initial]) {
    const known = asAll(values ?? []).filter(isKnown);
    if (known.length > 0) return known.includes(ALL) ? [ALL] : isMulti ? known : known.slice(0, 1);
  }
  const first = found.options[0];
  return first ? [first.value] : hasAll ? [ALL] : [];
}

/** Resolves all variables, those that mention others after them. `wanted` has the values that the address asks for. */
export async function resolveVariables(
  variables: Variable[],
  wanted: (name: string) => string[] | null,
  range: TimeRange,
  fixed: Record<string, string>,
  signal: AbortSignal,
): Promise<{ chosen: Chosen[]; failures: string[] }> {
  const done = new Map<string, Chosen>();
  const failures: string[] = [];
  const names = new Set(variables.map(({ name }) => name));
  let waiting = variables;
  while (waiting.length > 0) {
    const needs = (variable: Variable) => [...mentioned(`${variable.query} ${variable.regex}`)].filter((name) => names.has(name) && name !== variable.name);
    const ready = waiting.filter((variable) => variable.kind !== 'query' || needs(variable).every((name) => done.has(name)));
    // Variables that mention each other in a circle are resolved as they come.
    const turn = ready.length > 0 ? ready : waiting.slice(0, 1);
    const scope: Scope = { variables: [...done.values()], fixed, repeated: {} };
    await Promise.all(
      turn.map(async (variable) => {
        const found = await optionsOf(variable, scope, range, signal).catch((error: Error): Found => {
          failures.push(`${variable.label}: ${error.message}`);
          return { options: variable.options, isTruncated: false };
        });
        done.set(variable.name, { variable, values: choose(variable, found, wanted(variable.name)), ...found });
      }),
    );
    signal.throwIfAborted();
    waiting = waiting.filter((variable) => !turn.includes(variable));
  }
  return { chosen: variables.map(({ name }) => done.get(name)).filter((chosen) => chosen !== undefined), failures };
}
