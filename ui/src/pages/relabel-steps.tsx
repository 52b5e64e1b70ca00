/** How a target came about: each relabelling rule, and what it changed. */
import { useApi } from '../api/use';
import { Loadable } from '../components/feedback';
import type { LabelMap } from '../format/series';

interface Rule {
  source_labels?: string[];
  separator: string;
  regex?: string;
  modulus?: number;
  target_label?: string;
  replacement: string;
  action?: string;
}

interface Step {
  rule: Rule;
  output: LabelMap;
  keep: boolean;
}

export interface Change {
  name: string;
  /** Null if the label did not exist. */
  before: string | null;
  /** Null if the label was removed. */
  after: string | null;
}

/** What differs between two sets of labels, by name. */
export function changesOf(before: LabelMap, after: LabelMap): Change[] {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return names.map((name) => ({ name, before: before[name] ?? null, after: after[name] ?? null })).filter(({ before, after }) => before !== after);
}

/** A rule in words that are near to the configuration. */
export function ruleText({ source_labels = [], separator, regex, modulus, target_label, replacement, action = 'replace' }: Rule): string {
  const source = source_labels.length > 0 ? `[${source_labels.join(', ')}]${source_labels.length > 1 && separator !== ';' ? ` joined by "${separator}"` : ''}` : '';
  const matching = regex && regex !== '(.*)' ? ` matching ${regex}` : '';
  const into = target_label ? ` → ${target_label}` : '';
  const made = replacement !== '$1' ? ` = ${replacement}` : '';
  return `${action} ${source}${matching}${modulus ? ` modulo ${modulus}` : ''}${into}${made}`.replace(/ +/g, ' ').trim();
}

export function RelabelSteps({ pool, discovered }: { pool: string; discovered: LabelMap }) {
  const loaded = useApi<{ steps: Step[] }>('targets/relabel_steps', { scrapePool: pool, labels: JSON.stringify(discovered) });
  return (
    <Loadable of={loaded}>
      {({ steps }) =>
        steps.length === 0 ? <p class="muted">The scrape pool has no relabelling rules.</p> : (
          <ol class="relabel-steps">
            {steps.map((step, i) => {
              const wasDropped = i > 0 && steps[i - 1]?.keep === false;
              const changes = step.keep ? changesOf(i === 0 ? discovered : (steps[i - 1]?.output ?? {}), step.output) : [];
              return (
                <li key={i}>
                  <code>{ruleText(step.rule)}</code>
                  {wasDropped ? <p class="muted">not reached</p>
                    : !step.keep ? <p><span class="badge bad">drops the target</span></p>
                    : changes.length === 0 ? <p class="muted">changes nothing</p>
                    : (
                      <ul>
                        {changes.map(({ name, before, after }) => (
                          <li key={name}>
                            <b>{name}</b>: {before === null ? <span class="muted">(none)</span> : <del>{before}</del>} → {after === null ? <span class="muted">removed</span> : <ins>{after}</ins>}
                          </li>
                        ))}
                      </ul>
                    )}
                </li>
              );
            })}
          </ol>
        )
      }
    </Loadable>
  );
}
