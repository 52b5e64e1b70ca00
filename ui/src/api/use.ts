/** A response of the API as state of a component. */
import { useCallback, useEffect, useRef, useState } from 'preact/hooks';
import { tenant } from '../settings';
import { type Answer, Failure, type Params, failureOf, get } from './client';

export interface Loaded<T> {
  answer: Answer<T> | null;
  failure: Failure | null;
  isLoading: boolean;
  /** When the shown answer arrived, milliseconds since the epoch. */
  at: number;
  reload: () => void;
}

/**
 * Requests `path` when its parameters or the tenant change, and every `everyMs` while the page is visible.
 * An answer stays while the next one is on its way, also if that one fails. `null` as a path requests nothing.
 */
export function useApi<T>(path: string | null, params: Params = {}, everyMs = 0): Loaded<T> {
  const [state, setState] = useState<Omit<Loaded<T>, 'reload'>>({ answer: null, failure: null, isLoading: path !== null, at: 0 });
  const [turn, setTurn] = useState(0);
  const reload = useCallback(() => setTurn((turn) => turn + 1), []);
  const key = JSON.stringify([path, params, tenant.value]);
  const shown = useRef('');
  const isBusy = useRef(false);

  useEffect(() => {
    if (path === null) return;
    const abort = new AbortController();
    const isOther = shown.current !== key;
    isBusy.current = true;
    setState((old) => ({ ...old, answer: isOther ? null : old.answer, isLoading: true }));
    get<T>(path, params, abort.signal).then(
      (answer) => {
        isBusy.current = false;
        shown.current = key;
        setState({ answer, failure: null, isLoading: false, at: Date.now() });
      },
      (error) => {
        const failure = failureOf(error);
        if (failure.kind === 'cancelled') return;
        isBusy.current = false;
        setState((old) => ({ ...old, failure, isLoading: false }));
      },
    );
    return () => abort.abort();
  }, [key, turn]);

  useEffect(() => {
    if (!everyMs) return;
    // A server that is slower than the interval gets the time that it needs.
    const timer = setInterval(() => document.visibilityState === 'visible' && !isBusy.current && reload(), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);

  return { ...state, reload };
}
