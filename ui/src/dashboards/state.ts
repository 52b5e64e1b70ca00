/** The state of a dashboard in the address, in Grafana's words: `from`, `to`, `refresh`, `var-name`. */
import { href, navigate, place } from '../router';
import type { Dashboard } from './model';

export interface State {
  from: string;
  to: string;
  refresh: string;
  /** The panel that fills the page, or null. */
  viewed: number | null;
}

export function readState(dashboard: Dashboard | null): State {
  const { params } = place.value;
  const viewed = Number(params.get('viewPanel') ?? NaN);
  return {
    from: params.get('from') ?? dashboard?.from ?? 'now-1h',
    to: params.get('to') ?? dashboard?.to ?? 'now',
    refresh: params.get('refresh') ?? dashboard?.refresh ?? '',
    viewed: Number.isInteger(viewed) ? viewed : null,
  };
}

/** The values that the address asks for; null if it says nothing about the variable. */
export function wantedValues(name: string): string[] | null {
  const values = place.value.params.getAll(`var-${name}`);
  return values.length > 0 ? values : null;
}

/** Changes parameters of the address. Null removes one. `isStep` leaves an entry in the browser's history. */
export function changeState(changes: Record<string, string | string[] | null>, isStep = true): void {
  const params = new URLSearchParams(location.search);
  for (const [name, value] of Object.entries(changes)) {
    params.delete(name);
    for (const one of value === null ? [] : Array.isArray(value) ? value : [value]) params.append(name, one);
  }
  navigate(href(place.value.page, params), { replace: !isStep });
}
