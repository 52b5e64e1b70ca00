/** Runs a few requests at a time, so that a page full of pictures leaves the server room for others. */

const waiting: (() => void)[] = [];
let running = 0;
const MAX_RUNNING = 4;

export async function inTurn<T>(signal: AbortSignal, task: () => Promise<T>): Promise<T> {
  if (running >= MAX_RUNNING) await new Promise<void>((resolve) => waiting.push(resolve));
  running++;
  try {
    signal.throwIfAborted();
    return await task();
  } finally {
    running--;
    waiting.shift()?.();
  }
}
