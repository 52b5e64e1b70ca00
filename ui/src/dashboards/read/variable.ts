/** Reads the variables of a dashboard. */
import { ALL, type Option, type Variable, type VariableKind } from '../model';
import { type Json, flag, list, number, object, objects, text, texts } from './json';

const KINDS: VariableKind[] = ['query', 'custom', 'interval', 'datasource', 'constant', 'textbox', 'adhoc'];

export function readVariable(json: Json): Variable {
  const kind = KINDS.find((kind) => kind === json.type) ?? 'unknown';
  const query = readQuery(json);
  return {
    name: text(json.name),
    label: text(json.label) || text(json.name),
    kind,
    // 1 hides the label only.
    isHidden: json.hide === 2 || json.hide === 'hideVariable' || kind === 'constant',
    isMulti: flag(json.multi),
    hasAll: flag(json.includeAll),
    allValue: text(json.allValue),
    query,
    regex: text(json.regex),
    sort: readSort(json.sort),
    initial: readCurrent(json, kind, query),
    options: kind === 'custom' || kind === 'interval' ? splitOptions(query) : objects(json.options).map(readOption),
  };
}

const SORTS = ['disabled', 'alphabeticalAsc', 'alphabeticalDesc', 'numericalAsc', 'numericalDesc', 'alphabeticalCaseInsensitiveAsc', 'alphabeticalCaseInsensitiveDesc', 'naturalAsc', 'naturalDesc'];

const readSort = (value: unknown): number => number(value) ?? Math.max(0, SORTS.indexOf(text(value)));

/** The query as text. Newer versions have an object, in which the query's kind is a number. */
function readQuery(json: Json): string {
  const { query, definition } = json;
  if (typeof query !== 'object' || query === null) return text(query) || text(definition);
  const form = object(query);
  const inner = object(form.spec);
  return text(form.query) || text(form.expr) || text(inner.query) || text(inner.expr) || text(definition) || text(inner.__legacyStringValue);
}

function readCurrent(json: Json, kind: VariableKind, query: string): string[] {
  const { value, text: shown } = object(json.current);
  const values = Array.isArray(value) ? texts(value) : value === undefined || value === null ? [] : [text(value)];
  if (kind === 'constant' || kind === 'textbox') return [values[0] || query];
  const isAll = values.includes(ALL) || (values.length === 0 && (shown === 'All' || texts(list(shown)).includes('All')));
  return isAll ? [ALL] : values.filter((value) => value !== '');
}

const readOption = (json: Json): Option => ({ text: text(json.text), value: text(json.value) });

/** Options as they are written: `a, b`, with `\,` for a comma and `name : value` for a name of its own. */
export function splitOptions(query: string): Option[] {
  const items = query.match(/(?:\\,|[^,])+/g) ?? [];
  return items
    .map((item) => item.replaceAll('\\,', ',').trim())
    .filter(Boolean)
    .map((item) => {
      const named = /^(.+?)\s+:\s+(.+)$/.exec(item);
      return named ? { text: named[1] ?? '', value: named[2] ?? '' } : { text: item, value: item };
    });
}
