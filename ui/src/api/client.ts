/** Requests to the HTTP API of this server, and only to it. */
import { base } from '../router';
import { tenant } from '../settings';
import { type Answer, failureOf, open } from './envelope';

export { type Answer, Failure, failureOf } from './envelope';

export type Params = Record<string, string | string[] | undefined>;

export function encode(params: Params): URLSearchParams {
  const encoded = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    for (const one of Array.isArray(value) ? value : value === undefined ? [] : [value]) encoded.append(name, one);
  }
  return encoded;
}

export function headers(): Record<string, string> {
  return tenant.value ? { 'X-Scope-OrgID': tenant.value } : {};
}

export const apiUrl = (path: string): string => new URL(`${base}api/v1/${path}`, location.href).href;

/** Sends a GET request. */
export async function get<T>(path: string, params: Params = {}, signal?: AbortSignal): Promise<Answer<T>> {
  const search = encode(params).toString();
  return send<T>(apiUrl(path) + (search && `?${search}`), { signal, headers: headers() });
}

/** Sends the parameters in the body, for queries that are too long for an address. */
export async function post<T>(path: string, params: Params, signal?: AbortSignal): Promise<Answer<T>> {
  return send<T>(apiUrl(path), { method: 'POST', body: encode(params), signal, headers: headers() });
}

async function send<T>(url: string, init: RequestInit): Promise<Answer<T>> {
  try {
    const response = await fetch(url, init);
    return open<T>(response.status, await response.text());
  } catch (error) {
    throw failureOf(error);
  }
}
