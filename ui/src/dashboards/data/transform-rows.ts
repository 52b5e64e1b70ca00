/** Transformations that move rows: merging, joining, sorting and grouping. */
import { type Json, object, text, texts } from '../read/json';
import { type Field, type Frame, frameOf, nameOf, newField, numberAt, textAt } from './frame';
import { REDUCERS, reduce } from './reduce';

/** Frames of more rows are cut, so that no transformation makes a page that is too large to show. */
const MAX_ROWS = 20_000;

/** A frame with some rows of another one, in the given order. */
export function takeRows(frame: Frame, rows: number[]): Frame {
  const fields = frame.fields.map((field) => ({ ...field, values: rows.map((row) => field.values[row]) }));
  return { ...frame, fields, length: rows.length };
}

/** Puts all frames into one table. Rows whose common columns are equal become one row. */
export function merge(frames: Frame[]): Frame[] {
  if (frames.length === 0) return [];
  const columns = new Map<string, Field>();
  for (const { fields } of frames) for (const field of fields) if (!columns.has(nameOf(field))) columns.set(nameOf(field), field);
  const inAll = [...columns.keys()].filter((name) => frames.every(({ fields }) => fields.some((field) => nameOf(field) === name && field.kind !== 'number')));
  const rows = new Map<string, Map<string, unknown>>();
  for (const [number, frame] of frames.entries()) {
    for (let row = 0; row < frame.length && rows.size < MAX_ROWS; row++) {
      const cells = new Map(frame.fields.map((field) => [nameOf(field), field.values[row]]));
      const key = JSON.stringify(inAll.map((name) => cells.get(name)));
      placeRow(rows, key, cells, `${number}.${row}`);
    }
  }
  const all = [...rows.values()];
  const fields = [...columns].map(([name, field]) => ({ ...field, values: all.map((row) => row.get(name) ?? (field.kind === 'number' ? NaN : null)) }));
  return [frameOf(frames[0]?.refId ?? 'A', fields)];
}

/** Joins cells to the row of their key if none of them contradicts it, and otherwise adds a row. */
function placeRow(rows: Map<string, Map<string, unknown>>, key: string, cells: Map<string, unknown>, own: string): void {
  const known = rows.get(key);
  if (!known) {
    rows.set(key, cells);
    return;
  }
  const fits = [...cells].every(([name, value]) => !known.has(name) || Object.is(known.get(name), value));
  if (!fits) {
    rows.set(`${key}${own}`, cells);
    return;
  }
  for (const [name, value] of cells) known.set(name, value);
}

/** One table with a row for each value of a field, which is the time by default. */
export function joinBy(frames: Frame[], name: string, mode = 'outer'): Frame[] {
  const isKey = (field: Field) => (name ? nameOf(field) === name : field.kind === 'time');
  const sides = frames.flatMap((frame) => {
    const key = frame.fields.find(isKey);
    return key ? [{ key, others: frame.fields.filter((field) => field !== key), length: frame.length }] : [];
  });
  const first = sides[0];
  if (!first) return frames;
  const indexes = sides.map(({ key, length }) => new Map(Array.from({ length }, (_, row) => [key.values[row], row])));
  const keys = [...new Set(sides.flatMap(({ key }) => Array.from(key.values)))].filter((key) => mode !== 'inner' || indexes.every((index) => index.has(key))).slice(0, MAX_ROWS);
  if (first.key.kind === 'time') keys.sort((a, b) => Number(a) - Number(b));
  const columns = sides.flatMap(({ others }, side) =>
    others.map((field) => ({ ...field, values: keys.map((key) => {
      const row = indexes[side]?.get(key);
      return row === undefined ? (field.kind === 'number' ? NaN : null) : field.values[row];
    }) })),
  );
  return [frameOf('joined', [{ ...first.key, values: keys }, ...columns])];
}

/** All samples of all series as rows of a table: time, name, value. */
export function seriesToRows(frames: Frame[]): Frame[] {
  const rows: [unknown, string, unknown][] = [];
  for (const frame of frames) {
    const time = frame.fields.find(({ kind }) => kind === 'time');
    for (const field of frame.fields) {
      if (field.kind !== 'number') continue;
      for (let row = 0; row < frame.length && rows.length < MAX_ROWS; row++) rows.push([time?.values[row] ?? null, nameOf(field), field.values[row]]);
    }
  }
  rows.sort((a, b) => Number(b[0]) - Number(a[0]));
  return [frameOf('rows', [newField('Time', 'time', rows.map(([time]) => time)), newField('Metric', 'string', rows.map(([, name]) => name)), newField('Value', 'number', rows.map(([, , value]) => value))])];
}

/** Sorts rows by one or more fields. Missing values are last. */
export function sortBy(frame: Frame, orders: { field: string; isDescending: boolean }[]): Frame {
  const keys = orders.flatMap(({ field: name, isDescending }) => {
    const field = frame.fields.find((field) => nameOf(field) === name || field.name === name);
    return field ? [{ field, sign: isDescending ? -1 : 1 }] : [];
  });
  if (keys.length === 0) return frame;
  const compare = (a: number, b: number): number => {
    for (const { field, sign } of keys) {
      const order = field.kind === 'string' ? sign * textAt(field, a).localeCompare(textAt(field, b), undefined, { numeric: true }) : numeric(numberAt(field, a), numberAt(field, b), sign);
      if (order !== 0) return order;
    }
    return 0;
  };
  return takeRows(frame, [...Array(frame.length).keys()].sort(compare));
}

function numeric(a: number, b: number, sign: number): number {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number(Number.isNaN(a)) - Number(Number.isNaN(b));
  return a === b ? 0 : a < b ? -sign : sign;
}

/** Groups rows by some fields and reduces others. */
export function groupBy(frame: Frame, options: Json): Frame {
  const optionOf = (field: Field) => object(options[nameOf(field)]);
  const keys = frame.fields.filter((field) => optionOf(field).operation === 'groupby');
  const reduced = frame.fields.filter((field) => optionOf(field).operation === 'aggregate');
  if (keys.length === 0) return frame;
  const groups = new Map<string, number[]>();
  for (let row = 0; row < frame.length; row++) {
    const key = JSON.stringify(keys.map((field) => field.values[row]));
    const known = groups.get(key);
    if (known) known.push(row);
    else groups.set(key, [row]);
  }
  const members = [...groups.values()];
  const keyFields = keys.map((field) => ({ ...field, values: members.map(([first = 0]) => field.values[first]) }));
  const figures = reduced.flatMap((field) =>
    texts(optionOf(field).aggregations).map((how) => newField(`${nameOf(field)} (${(REDUCERS[how] ?? how).toLowerCase()})`, 'number', members.map((rows) => reduce(rows.map((row) => numberAt(field, row)), how)))),
  );
  return frameOf(frame.refId, [...keyFields, ...figures]);
}

/** The rows of a table as fields of one row. */
export function rowsToFields(frame: Frame, mappings: Json[]): Frame {
  const usedAs = (handler: string) => frame.fields.find((field) => mappings.some((mapping) => mapping.handlerKey === handler && text(mapping.fieldName) === nameOf(field)));
  const name = usedAs('field.name') ?? frame.fields.find(({ kind }) => kind === 'string');
  const value = usedAs('field.value') ?? frame.fields.find(({ kind }) => kind === 'number');
  if (!name || !value) return frame;
  return frameOf(frame.refId, Array.from({ length: Math.min(frame.length, 500) }, (_, row) => newField(textAt(name, row), 'number', [numberAt(value, row)])));
}
