/** Tables of fields, as which panels see the results of queries. */
import type { LabelMap } from '../../format/series';
import { type FieldConfig, emptyField } from '../model';

export type FieldKind = 'time' | 'number' | 'string' | 'other';

/** A column. Times are milliseconds since the epoch; missing numbers are NaN. */
export interface Field {
  name: string;
  kind: FieldKind;
  values: ArrayLike<unknown>;
  labels: LabelMap;
  config: FieldConfig;
  /** The name from the query's legend; empty if it has none. */
  legend: string;
}

export interface Frame {
  refId: string;
  fields: Field[];
  length: number;
}

export function newField(name: string, kind: FieldKind, values: ArrayLike<unknown>, more: Partial<Field> = {}): Field {
  return { name, kind, values, labels: {}, config: emptyField(), legend: '', ...more };
}

export const frameOf = (refId: string, fields: Field[]): Frame => ({ refId, fields, length: fields[0]?.values.length ?? 0 });

export const isSeries = ({ fields }: Frame): boolean => fields[0]?.kind === 'time' && fields.slice(1).some(({ kind }) => kind === 'number');

/** The name under which a field is shown, unless its configuration has another one. */
export function nameOf(field: Field): string {
  const { displayName } = field.config;
  if (displayName) {
    return displayName.replace(/\$\{__(?:field|series)\.(?:labels\.([\w.]+)|(displayName|name))\}/g, (_, label?: string) => (label ? (field.labels[label] ?? '') : ownName(field)));
  }
  return ownName(field);
}

function ownName(field: Field): string {
  if (field.legend) return field.legend;
  const labels = Object.entries(field.labels).filter(([name]) => name !== '__name__');
  if (labels.length === 0) return field.labels.__name__ ?? field.name;
  const written = labels.map(([name, value]) => `${name}="${value}"`).join(', ');
  return `${field.labels.__name__ ?? ''}{${written}}`;
}

export const numberAt = (field: Field, row: number): number => {
  const value = field.values[row];
  return typeof value === 'number' ? value : value === null || value === undefined || value === '' ? NaN : Number(value);
};

export const textAt = (field: Field, row: number): string => {
  const value = field.values[row];
  return value === null || value === undefined ? '' : String(value);
};
