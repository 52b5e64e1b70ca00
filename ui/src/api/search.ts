/** Search for names and values on the server, which answers with the best matches instead of whole lists. */
import { apiUrl, encode, headers } from './client';
import { Failure, failureOf, open } from './envelope';

const MAX_MATCHES = 100;

/** What can be searched, and the names of labels whose values can be. */
export type Searched = { names: 'metric' | 'label' } | { valuesOf: string };

export interface Matches {
  texts: string[];
  hasMore: boolean;
  warnings: string[];
}

interface Line {
  results?: { name?: string; value?: string }[];
  status?: string;
  has_more?: boolean;
  errorType?: string;
  error?: string;
  warnings?: string[];
}

/** Reads the lines of an answer: batches of results, and a last line that says whether there are more. */
export function readLines(text: string): Matches {
  const matches: Matches = { texts: [], hasMore: false, warnings: [] };
  for (const line of text.split('\n')) {
    if (!line) continue;
    const read = JSON.parse(line) as Line;
    if (read.status === 'error') throw new Failure(read.errorType ?? 'http', read.error ?? 'The search failed.');
    for (const { name, value } of read.results ?? []) matches.texts.push(name ?? value ?? '');
    matches.warnings.push(...(read.warnings ?? []));
    matches.hasMore ||= read.has_more === true;
  }
  return matches;
}

/** Names or values that match what is typed, the best first. `selector` restricts them to those of some series. */
export async function find(what: Searched, typed: string, selector: string | undefined, signal?: AbortSignal, start = recent()): Promise<Matches> {
  const [path, label] = 'names' in what ? [`search/${what.names}_names`, undefined] : ['search/label_values', what.valuesOf];
  const order = typed ? { 'search[]': typed, sort_by: 'score', case_sensitive: 'false' } : {};
  const params = { label, ...order, 'match[]': selector, limit: String(MAX_MATCHES), start };
  try {
    const response = await fetch(`${apiUrl(path)}?${encode(params)}`, { signal, headers: headers() });
    const text = await response.text();
    if (response.ok) return readLines(text);
    open(response.status, text);
    throw new Failure('http', `Status ${response.status}`);
  } catch (error) {
    throw failureOf(error);
  }
}

/** Series of the last twelve hours are searched, as in Prometheus. */
export const recent = (): string => String(Math.floor(Date.now() / 1000) - 12 * 3600);
