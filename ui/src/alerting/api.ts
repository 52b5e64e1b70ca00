/** The API of the Alertmanager inside of this server, if it runs one. */
import { useCallback, useEffect, useState } from 'preact/hooks';
import { Failure, failureOf } from '../api/client';
import type { LabelMap } from '../format/series';
import { base } from '../router';

export interface Matcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual: boolean;
}

export interface Silence {
  id: string;
  status: { state: 'active' | 'pending' | 'expired' };
  matchers: Matcher[];
  startsAt: string;
  endsAt: string;
  updatedAt: string;
  createdBy: string;
  comment: string;
}

export interface GettableAlert {
  labels: LabelMap;
  annotations: LabelMap;
  fingerprint: string;
  startsAt: string;
  endsAt: string;
  generatorURL?: string;
  receivers: { name: string }[];
  status: { state: 'active' | 'suppressed' | 'unprocessed'; silencedBy: string[]; inhibitedBy: string[]; mutedBy?: string[] };
}

export interface AlertGroup {
  labels: LabelMap;
  receiver: { name: string };
  alerts: GettableAlert[];
}

const address = (path: string): string => new URL(`${base}alertmanager/api/v2/${path}`, location.href).href;

/** Sends a request. The failure is of the kind `absent` if this server runs no Alertmanager. */
async function send<T>(path: string, init: RequestInit): Promise<T> {
  try {
    const response = await fetch(address(path), init);
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') ?? false;
    if (response.status === 404 && !isJson) throw new Failure('absent', 'This server runs no Alertmanager.');
    if (!response.ok) throw new Failure(response.status === 404 ? 'not_found' : 'bad_data', messageOf(text) || `Status ${response.status}`);
    return (text ? JSON.parse(text) : null) as T;
  } catch (error) {
    throw failureOf(error);
  }
}

/** Errors are JSON texts, or objects with a message. */
function messageOf(text: string): string {
  try {
    const read: unknown = JSON.parse(text);
    if (typeof read === 'string') return read;
    const { message } = read as { message?: unknown };
    return typeof message === 'string' ? message : text.slice(0, 300);
  } catch {
    return text.slice(0, 300);
  }
}

export const getFrom = <T>(path: string, signal?: AbortSignal): Promise<T> => send<T>(path, { signal });

/** Creates a silence, or changes the one with the same id. Returns the id that it has now. */
export async function saveSilence(silence: { id?: string; matchers: Matcher[]; startsAt: string; endsAt: string; createdBy: string; comment: string }): Promise<string> {
  const { silenceID } = await send<{ silenceID: string }>('silences', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(silence) });
  return silenceID;
}

export const expireSilence = (id: string): Promise<unknown> => send(`silence/${encodeURIComponent(id)}`, { method: 'DELETE' });

/** An answer as state, asked for again every `everyMs`. Null as a path asks for nothing. */
export function useAlertmanager<T>(path: string | null, everyMs = 0) {
  const [state, setState] = useState<{ data: T | null; failure: Failure | null }>({ data: null, failure: null });
  const [turn, setTurn] = useState(0);
  const reload = useCallback(() => setTurn((turn) => turn + 1), []);
  useEffect(() => {
    if (path === null) return;
    const abort = new AbortController();
    getFrom<T>(path, abort.signal).then(
      (data) => setState({ data, failure: null }),
      (error) => abort.signal.aborted || setState((old) => ({ ...old, failure: failureOf(error) })),
    );
    return () => abort.abort();
  }, [path, turn]);
  useEffect(() => {
    if (!everyMs) return;
    const timer = setInterval(() => document.visibilityState === 'visible' && reload(), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return { ...state, reload };
}
