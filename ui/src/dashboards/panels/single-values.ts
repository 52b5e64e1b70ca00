/** The values of stats, gauges and bars: one for each field, or one for each row. */
import type { PanelData } from '../data/run-panel';
import { readPattern } from '../data/display';
import { type Field, type Frame, nameOf, numberAt, textAt } from '../data/frame';
import { reduce } from '../data/reduce';
import type { FieldConfig, Panel } from '../model';
import { number, object, text, texts } from '../read/json';

export interface Single {
  name: string;
  value: unknown;
  config: FieldConfig;
  /** All values of the field over time, for a small picture; null for a single one. */
  series: ArrayLike<unknown> | null;
}

const MAX_VALUES = 250;

export function singleValues(panel: Panel, { frames }: PanelData): Single[] {
  const options = object(panel.options.reduceOptions);
  const calc = texts(options.calcs)[0] ?? 'lastNotNull';
  const wanted = wantedFields(text(options.fields));
  const found = options.values === true ? frames.flatMap((frame) => ofRows(frame, wanted)) : frames.flatMap((frame) => ofFields(frame, wanted, calc));
  return found.slice(0, Math.min(MAX_VALUES, options.values === true ? (number(options.limit) ?? MAX_VALUES) : MAX_VALUES));
}

/** Which fields have values: numbers, or those whose name matches. */
function wantedFields(written: string): (field: Field) => boolean {
  const pattern = written ? readPattern(written) : null;
  if (!written || !pattern) return ({ kind }) => kind === 'number';
  return (field) => field.kind !== 'time' && (pattern.test(nameOf(field)) || field.name === written);
}

const isHidden = ({ config }: Field): boolean => object(config.custom.hideFrom).viz === true;

function ofFields(frame: Frame, isWanted: (field: Field) => boolean, calc: string): Single[] {
  const hasTime = frame.fields.some(({ kind }) => kind === 'time');
  return frame.fields.filter((field) => isWanted(field) && !isHidden(field)).map((field) => ({
    name: nameOf(field),
    value: field.kind === 'number' ? reduce(field.values, calc) : textAt(field, calc.startsWith('first') ? 0 : frame.length - 1),
    config: field.config,
    series: hasTime && frame.length > 1 && field.kind === 'number' ? field.values : null,
  }));
}

function ofRows(frame: Frame, isWanted: (field: Field) => boolean): Single[] {
  const label = frame.fields.find(({ kind }) => kind === 'string');
  const fields = frame.fields.filter((field) => isWanted(field) && field !== label);
  return Array.from({ length: frame.length }, (_, row) => row).flatMap((row) =>
    fields.map((field) => {
      const name = label ? textAt(label, row) : nameOf(field);
      return { name: label && fields.length > 1 ? `${name} ${nameOf(field)}` : name, value: field.kind === 'number' ? numberAt(field, row) : textAt(field, row), config: field.config, series: null };
    }),
  );
}
