/** What a user chooses once: the tenant and how times are shown. Kept in the browser. */
import { effect, signal } from '@preact/signals';

export type Zone = 'local' | 'utc';

function stored<T>(name: string, initial: T, isValid: (value: unknown) => value is T) {
  let value = initial;
  try {
    const parsed: unknown = JSON.parse(localStorage.getItem(`pharos.${name}`) ?? 'null');
    if (isValid(parsed)) value = parsed;
  } catch {
    // Storage may be disabled or hold something else; the initial value is fine then.
  }
  const setting = signal(value);
  effect(() => {
    try {
      localStorage.setItem(`pharos.${name}`, JSON.stringify(setting.value));
    } catch {
      // Without storage the setting lasts as long as the page.
    }
  });
  return setting;
}

const isText = (value: unknown): value is string => typeof value === 'string';
const areTexts = (value: unknown): value is string[] => Array.isArray(value) && value.every(isText);

/** The tenant whose series are shown. Empty for the default tenant. */
export const tenant = stored('tenant', '', isText);
/** Tenants that were chosen before, the latest first. */
export const recentTenants = stored<string[]>('tenants', [], areTexts);
export const zone = stored<Zone>('zone', 'local', (value): value is Zone => value === 'local' || value === 'utc');
/** Queries that were run, the latest first. */
export const queryHistory = stored<string[]>('history', [], areTexts);

/** Who makes silences. */
export const author = stored('author', '', isText);

const MAX_HISTORY = 200;
const MAX_TENANTS = 10;

export function remember(query: string): void {
  if (!query.trim() || queryHistory.value[0] === query) return;
  queryHistory.value = [query, ...queryHistory.value.filter((old) => old !== query)].slice(0, MAX_HISTORY);
}

export function chooseTenant(name: string): void {
  tenant.value = name;
  if (name) recentTenants.value = [name, ...recentTenants.value.filter((old) => old !== name)].slice(0, MAX_TENANTS);
}
