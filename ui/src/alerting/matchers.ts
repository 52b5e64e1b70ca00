/** Matchers of alerts, as they are written: `name="value"`, also with `!=`, `=~` and `!~`. */
import { type LabelMap, quote } from '../format/series';
import type { Matcher } from './api';

export type Operator = '=' | '!=' | '=~' | '!~';

export const OPERATORS: Operator[] = ['=', '!=', '=~', '!~'];

export const operatorOf = ({ isEqual, isRegex }: Matcher): Operator => (isEqual ? (isRegex ? '=~' : '=') : isRegex ? '!~' : '!=');

export const withOperator = (matcher: Matcher, operator: Operator): Matcher => ({ ...matcher, isEqual: operator.startsWith('='), isRegex: operator.endsWith('~') });

const isPlain = (name: string): boolean => /^[A-Za-z_][A-Za-z0-9_]*$/.test(name);

export const writeMatcher = (matcher: Matcher): string => `${isPlain(matcher.name) ? matcher.name : quote(matcher.name)}${operatorOf(matcher)}${quote(matcher.value)}`;

/** Matchers of exactly these labels. */
export const matchersOf = (labels: LabelMap): Matcher[] =>
  Object.entries(labels)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => ({ name, value, isEqual: true, isRegex: false }));

const MATCHER = /\s*(?:([A-Za-z_][A-Za-z0-9_]*)|"((?:[^"\\]|\\.)*)")\s*(=~|!~|!=|=)\s*(?:"((?:[^"\\]|\\.)*)"|([^,{}"\s]*))\s*(?:,|$)/y;

const unquoted = (text: string): string => text.replace(/\\(.)/gs, (_, letter: string) => (letter === 'n' ? '\n' : letter));

/** Reads matchers that are separated by commas. Null if the text is none. */
export function readMatchers(text: string): Matcher[] | null {
  const inner = text.trim().replace(/^\{([\s\S]*)\}$/, '$1').trim();
  const matchers: Matcher[] = [];
  MATCHER.lastIndex = 0;
  while (MATCHER.lastIndex < inner.length) {
    const match = MATCHER.exec(inner);
    if (!match) return null;
    const [, plain, quoted = '', operator = '=', value, bare = ''] = match;
    matchers.push(withOperator({ name: plain ?? unquoted(quoted), value: value === undefined ? bare : unquoted(value), isEqual: true, isRegex: false }, operator as Operator));
  }
  return matchers;
}
