/** Search for names and values on the server, which answers with a few matches instead of whole lists. */
import { escapeRegex, labelName, quote } from '../format/series';
import { get } from './client';

const MAX_MATCHES = 100;

/** Names or values that match what is typed, those that begin with it first. */
export async function search(path: string, label: string, typed: string, matchers: string[], signal?: AbortSignal): Promise<string[]> {
  const ask = (regex: string) => {
    const own = `${labelName(label)}=~${quote(regex)}`;
    return get<string[]>(path, { 'match[]': `{${[...matchers, own].join(', ')}}`, limit: String(MAX_MATCHES), start: recent() }, signal);
  };
  if (!typed) return (await ask('.+')).data;
  // Parts of words in order, so that `httpdur` finds http_request_duration_seconds.
  const fuzzy = [...typed].map(escapeRegex).join('.*');
  const [begins, contains, scattered] = await Promise.all([
    ask(`${escapeRegex(typed)}.*`),
    ask(`(?i).+${escapeRegex(typed)}.*`),
    typed.length > 2 ? ask(`(?i).*${fuzzy}.*`) : null,
  ]);
  return [...new Set([...begins.data, ...contains.data, ...(scattered?.data ?? [])])].slice(0, MAX_MATCHES);
}

/** Series of the last twelve hours are searched, as in Prometheus. */
export const recent = (): string => String(Math.floor(Date.now() / 1000) - 12 * 3600);
