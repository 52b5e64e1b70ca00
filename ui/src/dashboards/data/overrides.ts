/** Gives every field its configuration: the panel's, and what its overrides change. */
import type { FieldConfig, Override } from '../model';
import { object, text, texts } from '../read/json';
import { setProperty } from '../read/field';
import { readPattern } from './display';
import { type Field, type Frame, nameOf, numberAt } from './frame';
import { reduce } from './reduce';

export function configure(frames: Frame[], base: FieldConfig, overrides: Override[]): Frame[] {
  return frames.map((frame) => ({ ...frame, fields: frame.fields.map((field) => configured(field, frame, base, overrides)) }));
}

function configured(field: Field, frame: Frame, base: FieldConfig, overrides: Override[]): Field {
  const config = structuredClone(base);
  // The unit and the thresholds of a panel are about its numbers.
  if (field.kind === 'time') Object.assign(config, { unit: 'dateTimeAsIso', thresholds: [], mappings: [], decimals: null });
  if (field.kind === 'string') Object.assign(config, { unit: '', thresholds: [] });
  const named: Field = { ...field, config };
  // A transformation may have renamed the field already.
  if (field.config.displayName) config.displayName = field.config.displayName;
  const isFor = overrides.filter(({ matcher }) => matches(matcher.id, matcher.options, named, frame));
  for (const { properties } of isFor) {
    for (const { id, value } of properties) setProperty(config, id, value);
  }
  return named;
}

function matches(id: string, options: unknown, field: Field, frame: Frame): boolean {
  switch (id) {
    case 'byName':
      return named(field, text(options));
    case 'byNames':
      return texts(object(options).names).some((name) => named(field, name)) !== (object(options).mode === 'exclude');
    case 'byRegexp': {
      const pattern = readPattern(text(options));
      return pattern !== null && (pattern.test(nameOf(field)) || pattern.test(field.name));
    }
    case 'byType':
      return field.kind === options;
    case 'byFrameRefID':
      return frame.refId === options;
    case 'byValue':
      return field.kind === 'number' && compare(reduceField(field, text(object(options).reducer)), text(object(options).op), Number(object(options).value));
    default:
      return false;
  }
}

const named = (field: Field, name: string): boolean => nameOf(field) === name || (field.name === name && !field.legend);

function reduceField(field: Field, how: string): number {
  return reduce(Array.from({ length: field.values.length }, (_, row) => numberAt(field, row)), how);
}

export function compare(left: number, operator: string, right: number): boolean {
  switch (operator) {
    case 'lt': return left < right;
    case 'lte': return left <= right;
    case 'gt': return left > right;
    case 'gte': return left >= right;
    case 'neq': return left !== right;
    default: return left === right;
  }
}
