/** The address bar: which page is shown, and its parameters. Every page is one level below the prefix of the server. */
import { signal } from '@preact/signals';

/** The path up to the page, with a slash at its end: the prefix below which the server answers. */
export const base = location.pathname.replace(/[^/]*$/, '');

export interface Place {
  /** The last part of the path, for example `query`. */
  page: string;
  params: URLSearchParams;
}

function read(): Place {
  return { page: location.pathname.slice(base.length), params: new URLSearchParams(location.search) };
}

export const place = signal<Place>(read());

window.addEventListener('popstate', () => {
  place.value = read();
});

/** The address of a page, relative to the prefix. */
export function href(page: string, params?: Record<string, string> | URLSearchParams): string {
  const search = new URLSearchParams(params).toString();
  return `${base}${page}${search && `?${search}`}`;
}

/** Shows another page, or the same one with other parameters. `replace` leaves no entry in the history. */
export function navigate(to: string, { replace = false } = {}): void {
  if (to === location.pathname + location.search) return;
  history[replace ? 'replaceState' : 'pushState'](null, '', to);
  place.value = read();
}

/** Sets some parameters of the current page. An empty value removes a parameter. */
export function setParams(changes: Record<string, string>): void {
  const params = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    if (value) params.set(name, value);
    else params.delete(name);
  }
  navigate(href(place.value.page, params), { replace: true });
}

/** Follows links inside the interface without loading the page again. */
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = event.target instanceof Element ? event.target.closest('a') : null;
  if (!link || link.target || link.origin !== location.origin || !link.dataset.page) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
  window.scrollTo(0, 0);
}
