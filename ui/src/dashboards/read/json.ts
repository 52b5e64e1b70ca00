/** Reads JSON whose shape is not known: a wrong type counts as absent. */

export type Json = Record<string, unknown>;

export const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

/** The object, or an empty one. */
export const object = (value: unknown): Json => (isObject(value) ? value : {});

export const list = (value: unknown): unknown[] => (Array.isArray(value) ? value : []);

/** The objects of a list. */
export const objects = (value: unknown): Json[] => list(value).filter(isObject);

/** Text. Numbers and booleans are written out, because dashboards mix them up. */
export function text(value: unknown, initial = ''): string {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : initial;
}

/** A finite number, also from text. Null for anything else. */
export function number(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) ? value : null;
  if (typeof value !== 'string' || value.trim() === '') return null;
  const read = Number(value);
  return Number.isFinite(read) ? read : null;
}

export const flag = (value: unknown, initial = false): boolean => (typeof value === 'boolean' ? value : initial);

export const texts = (value: unknown): string[] => list(value).filter((item) => typeof item === 'string' || typeof item === 'number').map(String);
