/** Runs queries in workers. A worker that is cancelled is terminated, which closes its connection and so ends the query on the server. */
import { Failure, type Params, apiUrl, encode, headers } from '../api/client';
import { type Panel, stepOf } from './panel';
import type { Job, QueryResult, Reply } from './result';

/** Most series that a graph or table asks for. The server says so if there are more. */
export const MAX_SERIES = 5000;
export const MAX_ROWS = 10_000;

const idle: Worker[] = [];
const MAX_IDLE = 2;

const newWorker = () => new Worker(new URL('./worker.ts', import.meta.url), { type: 'module' });

function run(job: Job, signal: AbortSignal): Promise<QueryResult> {
  return new Promise((resolve, reject) => {
    const worker = idle.pop() ?? newWorker();
    const cancel = () => {
      worker.terminate();
      reject(new Failure('cancelled', 'The query was cancelled.'));
    };
    signal.addEventListener('abort', cancel, { once: true });
    worker.onmessage = ({ data }: MessageEvent<Reply>) => {
      signal.removeEventListener('abort', cancel);
      if (idle.length < MAX_IDLE) idle.push(worker);
      else worker.terminate();
      if (data.ok) resolve(data.result);
      else reject(new Failure(data.kind, data.message));
    };
    worker.onerror = (event) => {
      signal.removeEventListener('abort', cancel);
      worker.terminate();
      reject(new Failure('page', event.message || 'The answer could not be read: it may be too large for this browser.'));
    };
    worker.postMessage(job);
  });
}

function send(path: string, params: Params, grid: Job['grid'], signal: AbortSignal): Promise<QueryResult> {
  return run({ url: apiUrl(path), body: encode(params).toString(), headers: headers(), grid }, signal);
}

/** The times of a panel's range query: seconds, on whole multiples of the step where the end is now. */
export function gridOf(panel: Panel, nowMs: number): NonNullable<Job['grid']> {
  const stepMs = stepOf(panel);
  const endMs = panel.endMs ?? nowMs;
  const startMs = endMs - panel.rangeMs;
  return { start: startMs / 1000, step: stepMs / 1000, count: Math.floor(panel.rangeMs / stepMs) + 1 };
}

/** Runs a range query on a grid of times, seconds. */
export function runGrid(query: string, grid: NonNullable<Job['grid']>, limit: number, signal: AbortSignal): Promise<QueryResult> {
  const { start, step, count } = grid;
  const end = start + (count - 1) * step;
  return send('query_range', { query, start: String(start), end: end.toFixed(3), step: String(step), stats: 'true', limit: String(limit) }, grid, signal);
}

/** Runs a query at one moment, milliseconds. */
export function runAt(query: string, timeMs: number, limit: number, signal: AbortSignal): Promise<QueryResult> {
  return send('query', { query, time: (timeMs / 1000).toFixed(3), stats: 'true', limit: String(limit) }, null, signal);
}

export const runRange = (panel: Panel, signal: AbortSignal): Promise<QueryResult> => runGrid(panel.expr, gridOf(panel, Date.now()), MAX_SERIES, signal);

export const runInstant = (panel: Panel, signal: AbortSignal): Promise<QueryResult> => runAt(panel.expr, panel.endMs ?? Date.now(), MAX_ROWS, signal);
