/** The envelope of the responses, and failures. Used by pages and by the worker of queries. */

/** A response of the API. */
export interface Answer<T> {
  data: T;
  /** What the response may lack. */
  warnings: string[];
  infos: string[];
}

/** A request that failed. */
export class Failure extends Error {
  /** The API's type of the error, `network` if the server did not answer, or `cancelled`. */
  readonly kind: string;

  constructor(kind: string, message: string) {
    super(message);
    this.kind = kind;
  }
}

/** The failure that an exception of `fetch` stands for. */
export function failureOf(error: unknown): Failure {
  if (error instanceof Failure) return error;
  if (error instanceof DOMException && error.name === 'AbortError') return new Failure('cancelled', 'The request was cancelled.');
  return new Failure('network', 'The server does not answer. It may be down, or the network between it and this browser.');
}

/** Reads the envelope of a response. */
export function open<T>(status: number, text: string): Answer<T> {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    const excerpt = text.trim().slice(0, 300);
    throw new Failure('http', status === 200 ? 'The response is not JSON.' : `Status ${status}${excerpt && `: ${excerpt}`}`);
  }
  const envelope = body as { status?: string; data?: T; errorType?: string; error?: string; warnings?: string[]; infos?: string[] };
  if (envelope?.status !== 'success') throw new Failure(envelope?.errorType ?? 'http', envelope?.error ?? `Status ${status}`);
  return { data: envelope.data as T, warnings: envelope.warnings ?? [], infos: envelope.infos ?? [] };
}
