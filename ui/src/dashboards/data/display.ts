/** How values look: text, unit and colour by mappings and thresholds. */
import type { FieldConfig, Mapping, Threshold } from '../model';
import { paletteColor, safeColor } from './colors';
import { type Shown, inUnit, shownText } from './units';

export interface Displayed extends Shown {
  /** CSS colour; empty for none. */
  color: string;
}

/** The threshold in force at a value. */
export function thresholdAt(field: FieldConfig, value: number): Threshold | undefined {
  if (Number.isNaN(value)) return field.thresholds[0];
  const at = field.isPercentage ? (100 * (value - lowest(field))) / (highest(field) - lowest(field) || 1) : value;
  return field.thresholds.findLast((threshold) => threshold.value <= at) ?? field.thresholds[0];
}

export const lowest = (field: FieldConfig): number => field.min ?? 0;

/** The upper end of a scale: what is configured, or what the unit suggests. */
export function highest(field: FieldConfig): number {
  if (field.max !== null) return field.max;
  if (field.unit === 'percentunit') return 1;
  if (field.unit === 'percent' || field.isPercentage) return 100;
  const last = field.thresholds.at(-1)?.value ?? 0;
  return last > 0 && Number.isFinite(last) ? last * 1.25 : 100;
}

function mapped(mapping: Mapping, value: unknown): { text: string | null; color: string } | null {
  const { kind, match, from, to, text, color } = mapping;
  const numeric = typeof value === 'number' ? value : typeof value === 'string' && value.trim() !== '' ? Number(value) : NaN;
  switch (kind) {
    case 'value':
      return String(value) === match || (match !== '' && !Number.isNaN(numeric) && Number(match) === numeric) ? { text, color } : null;
    case 'range':
      return numeric >= from && numeric <= to ? { text, color } : null;
    case 'special': {
      const isNull = value === null || value === undefined || Number.isNaN(value);
      const isMatch = { null: isNull, nan: isNull, 'null+nan': isNull, true: value === true, false: value === false, empty: value === '' }[match] ?? false;
      return isMatch ? { text, color } : null;
    }
    case 'regex':
      return byPattern(match, String(value), text, color);
  }
}

function byPattern(pattern: string, value: string, text: string | null, color: string) {
  const regex = readPattern(pattern);
  if (!regex?.test(value)) return null;
  return { text: text === null ? null : value.replace(regex, text), color };
}

const MAX_PATTERN = 2000;

/** Reads `/pattern/flags` or a plain pattern. Null if it is not a regular expression. */
export function readPattern(written: string): RegExp | null {
  const parts = /^\/(.*)\/([imsu]*)g?$/s.exec(written);
  if (written.length > MAX_PATTERN) return null;
  try {
    return parts ? new RegExp(parts[1] ?? '', parts[2]) : new RegExp(written);
  } catch {
    return null;
  }
}

/** The colour of a value by thresholds or as it is fixed; `index` chooses from the palette. */
export function colorAt(field: FieldConfig, value: number, index: number): string {
  switch (field.colorMode) {
    case 'fixed':
    case 'shades':
      return safeColor(field.fixedColor) || paletteColor(index);
    case 'thresholds':
    case '':
      return safeColor(thresholdAt(field, value)?.color ?? '');
    default:
      return field.colorMode.startsWith('continuous') ? continuous(field, value) : paletteColor(index);
  }
}

const RAMPS: Record<string, string[]> = {
  'continuous-GrYlRd': ['green', 'yellow', 'red'],
  'continuous-RdYlGr': ['red', 'yellow', 'green'],
  'continuous-BlYlRd': ['blue', 'yellow', 'red'],
  'continuous-YlRd': ['yellow', 'red'],
  'continuous-greens': ['light-green', 'dark-green'],
  'continuous-reds': ['light-red', 'dark-red'],
  'continuous-blues': ['light-blue', 'dark-blue'],
  'continuous-purples': ['light-purple', 'dark-purple'],
};

function continuous(field: FieldConfig, value: number): string {
  const ramp = RAMPS[field.colorMode] ?? ['blue', 'purple'];
  const share = Math.min(1, Math.max(0, (value - lowest(field)) / (highest(field) - lowest(field) || 1)));
  const at = (Number.isNaN(share) ? 0 : share) * (ramp.length - 1);
  const [low, high] = [ramp[Math.floor(at)] ?? 'blue', ramp[Math.ceil(at)] ?? 'blue'];
  return `color-mix(in oklab, ${safeColor(high)} ${Math.round((at % 1) * 100)}%, ${safeColor(low)})`;
}

/** Shows a value as its field wants it. */
export function display(field: FieldConfig, value: unknown, index = 0): Displayed {
  for (const mapping of field.mappings) {
    const found = mapped(mapping, value);
    if (!found) continue;
    const numeric = Number(value);
    const color = safeColor(found.color) || colorAt(field, numeric, index);
    if (found.text !== null) return { prefix: '', text: found.text, suffix: '', color };
    return { ...inUnit(numeric, field.unit, field.decimals), color };
  }
  if (typeof value !== 'number') {
    const text = value === null || value === undefined || value === '' ? field.noValue : String(value);
    const color = field.colorMode === 'fixed' ? safeColor(field.fixedColor) : '';
    return { prefix: '', text, suffix: '', color };
  }
  if (Number.isNaN(value)) return { prefix: '', text: field.noValue || 'No data', suffix: '', color: colorAt(field, value, index) };
  return { ...inUnit(value, field.unit, field.decimals), color: colorAt(field, value, index) };
}

export const displayText = (field: FieldConfig, value: unknown): string => shownText(display(field, value));
