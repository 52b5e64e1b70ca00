/** Puts the values of variables into queries and texts. */
import { ALL, type Chosen, type Option } from '../model';

/** What names mean: variables, and values that a range or a repetition defines. Later ones are not shadowed by variables. */
export interface Scope {
  variables: Chosen[];
  /** Values that stand for themselves, such as `__interval`. */
  fixed: Record<string, string>;
  /** The option for which a panel or row is repeated, by variable. */
  repeated: Record<string, Option>;
}

export type Purpose = 'query' | 'text' | 'address';

const REFERENCE = /\$(\w+)|\[\[(\w+?)(?::(\w+))?\]\]|\$\{(\w+)(?:\.([^:^}]+))?(?::([^}]+))?\}/g;

/** Replaces `$name`, `${name}`, `${name:format}` and `[[name]]`. Names that mean nothing stay. */
export function interpolate(text: string, scope: Scope, purpose: Purpose): string {
  if (!text.includes('$') && !text.includes('[[')) return text;
  return text.replace(REFERENCE, (whole, plain?: string, old?: string, oldFormat?: string, braced?: string, _path?: string, format?: string) => {
    const name = plain ?? old ?? braced ?? '';
    return valueOf(name, format ?? oldFormat ?? '', scope, purpose) ?? whole;
  });
}

/** The names of variables that a text mentions. */
export function mentioned(text: string): Set<string> {
  return new Set([...text.matchAll(REFERENCE)].map((match) => match[1] ?? match[2] ?? match[4] ?? ''));
}

function valueOf(name: string, format: string, scope: Scope, purpose: Purpose): string | null {
  const repeated = scope.repeated[name];
  const chosen = scope.variables.find(({ variable }) => variable.name === name);
  if (repeated) {
    if (format === 'text' || (purpose === 'text' && !format)) return repeated.text;
    const isPattern = chosen?.variable.isMulti || chosen?.variable.hasAll;
    return formatted([repeated.value], format, purpose, isPattern ? 'single' : 'plain');
  }
  if (chosen) return chosenValue(chosen, format, purpose);
  const fixed = Object.hasOwn(scope.fixed, name) ? scope.fixed[name] : undefined;
  if (fixed === undefined) return null;
  return format.startsWith('date') ? date(Number(fixed), format) : format === 'percentencode' ? encodeURIComponent(fixed) : fixed;
}

/** The values that a choice stands for. `$__all` stands for every option. */
export function expand({ values, options }: Chosen): string[] {
  return values.includes(ALL) ? options.map(({ value }) => value).filter((value) => value !== ALL) : values;
}

function chosenValue(chosen: Chosen, format: string, purpose: Purpose): string {
  const { variable, values, options } = chosen;
  const isAll = values.includes(ALL);
  const textOf = (value: string) => options.find((option) => option.value === value)?.text ?? value;
  if (format === 'text' || (purpose === 'text' && !format)) return isAll ? 'All' : values.map(textOf).join(' + ');
  if (isAll && variable.allValue) return format === 'percentencode' ? encodeURIComponent(variable.allValue) : variable.allValue;
  // Not all options are known, so that their list would leave something out.
  if (isAll && chosen.isTruncated && purpose === 'query') return '.+';
  if (format === 'queryparam') return values.map((value) => `var-${variable.name}=${encodeURIComponent(value)}`).join('&');
  const isPattern = variable.isMulti || variable.hasAll;
  return formatted(expand(chosen), format, purpose, !isPattern ? 'plain' : isAll || values.length > 1 ? 'several' : 'single');
}

const escapeRegex = (text: string): string => text.replace(/[\\^$*+?.()|[\]{}/]/g, '\\$&');

/** In a string of PromQL a backslash is written twice. */
const inString = (text: string): string => text.replaceAll('\\', '\\\\');

/** `how` says what a query expects without a format: text as it is, one pattern, or a pattern of several. */
function formatted(values: string[], format: string, purpose: Purpose, how: 'plain' | 'single' | 'several'): string {
  const [kind] = format.split(':');
  switch (kind) {
    case 'csv':
    case 'raw':
      return values.join(',');
    case 'pipe':
      return values.join('|');
    case 'regex':
      return values.length === 1 ? escapeRegex(values[0] ?? '') : `(${values.map(escapeRegex).join('|')})`;
    case 'glob':
      return values.length > 1 ? `{${values.join(',')}}` : (values[0] ?? '');
    case 'json':
      return JSON.stringify(values);
    case 'singlequote':
      return values.map((value) => `'${value.replaceAll("'", "\\'")}'`).join(',');
    case 'doublequote':
      return values.map((value) => `"${value.replaceAll('"', '\\"')}"`).join(',');
    case 'sqlstring':
      return values.map((value) => `'${value.replaceAll("'", "''")}'`).join(',');
    case 'percentencode':
      return encodeURIComponent(values.length > 1 ? `{${values.join(',')}}` : (values[0] ?? ''));
    default:
  }
  if (purpose === 'address') return values.map(encodeURIComponent).join(',');
  if (purpose === 'text') return values.join(' + ');
  if (how === 'plain') return values.map((value) => inString(value).replaceAll('"', '\\"')).join(',');
  const patterns = values.map((value) => inString(escapeRegex(value)).replaceAll('"', '\\"'));
  return how === 'several' && patterns.length !== 1 ? `(${patterns.join('|')})` : (patterns[0] ?? '');
}

/** A time in the format `date`, `date:iso` or `date:seconds`. */
function date(ms: number, format: string): string {
  if (!Number.isFinite(ms)) return '';
  return format === 'date:seconds' ? String(Math.floor(ms / 1000)) : new Date(ms).toISOString();
}
