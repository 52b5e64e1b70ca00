/** The transformations of panels that dashboards commonly use. Each makes frames from frames. */
import type { Transformation } from '../model';
import { isObject, number, object, objects, text, texts } from '../read/json';
import { readPattern } from './display';
import { type Field, type Frame, frameOf, nameOf, newField, numberAt } from './frame';
import { compare } from './overrides';
import { REDUCERS, reduce } from './reduce';
import { groupBy, joinBy, merge, rowsToFields, seriesToRows, sortBy, takeRows } from './transform-rows';

type Options = Record<string, unknown>;
type Transform = (frames: Frame[], options: Options) => Frame[];

const TRANSFORMS: Record<string, Transform> = {
  organize,
  merge: (frames) => merge(frames),
  reduce: reduceFrames,
  filterFieldsByName,
  filterByRefId: (frames, options) => frames.filter(({ refId }) => readPattern(text(options.include))?.test(refId) ?? true),
  labelsToFields,
  seriesToColumns: (frames, options) => joinBy(frames, text(options.byField) || text(options.field)),
  joinByField: (frames, options) => joinBy(frames, text(options.byField) || text(options.field), text(options.mode)),
  joinByLabels,
  seriesToRows: (frames) => seriesToRows(frames),
  sortBy: (frames, options) => frames.map((frame) => sortBy(frame, objects(options.sort).map(({ field, desc }) => ({ field: text(field), isDescending: desc === true })))),
  groupBy: (frames, options) => frames.map((frame) => groupBy(frame, object(options.fields))),
  limit: (frames, options) => frames.map((frame) => takeRows(frame, rows(frame).slice(0, number(options.limitField) ?? 10))),
  renameByRegex,
  calculateField,
  filterByValue,
  concatenate: (frames) => (frames.length < 2 ? frames : [frameOf(frames[0]?.refId ?? 'A', frames.flatMap(({ fields }) => fields))]),
  rowsToFields: (frames, options) => frames.map((frame) => rowsToFields(frame, objects(options.mappings))),
  // They change how values are typed or named in ways that do not matter here.
  convertFieldType: (frames) => frames,
  prepareTimeSeries: (frames) => frames,
};

/** Applies transformations in order. The names of those that are not known are returned, and left out. */
export function transform(frames: Frame[], steps: Transformation[]): { frames: Frame[]; unknown: string[] } {
  const unknown: string[] = [];
  let result = frames;
  for (const { id, options } of steps) {
    const apply = Object.hasOwn(TRANSFORMS, id) ? TRANSFORMS[id] : undefined;
    if (apply) result = apply(result, options);
    else unknown.push(id);
  }
  return { frames: result, unknown };
}

const rows = (frame: Frame): number[] => [...Array(frame.length).keys()];

const withName = (field: Field, name: string): Field => ({ ...field, legend: '', labels: {}, name, config: { ...field.config, displayName: '' } });

function organize(frames: Frame[], options: Options): Frame[] {
  const [hidden, order, names, shown] = [object(options.excludeByName), object(options.indexByName), object(options.renameByName), object(options.includeByName)];
  const isShown = (name: string) => hidden[name] !== true && (Object.keys(shown).length === 0 || shown[name] === true);
  return frames.map((frame) => {
    const fields = frame.fields.filter((field) => isShown(nameOf(field)));
    const rank = (field: Field) => number(order[nameOf(field)]) ?? Infinity;
    const sorted = Object.keys(order).length > 0 ? fields.toSorted((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b))) : fields;
    return { ...frame, fields: sorted.map((field) => (text(names[nameOf(field)]) ? withName(field, text(names[nameOf(field)])) : field)) };
  });
}

function reduceFrames(frames: Frame[], options: Options): Frame[] {
  const reducers = texts(options.reducers).length > 0 ? texts(options.reducers) : ['lastNotNull'];
  const fields = frames.flatMap((frame) => frame.fields.filter(({ kind }) => kind === 'number'));
  if (options.mode === 'reduceFields') {
    return frames.map((frame) => frameOf(frame.refId, frame.fields.filter(({ kind }) => kind === 'number').map((field) => ({ ...field, values: [reduce(field.values, reducers[0] ?? 'last')] }))));
  }
  const labels = options.labelsToFields === true ? [...new Set(fields.flatMap((field) => Object.keys(field.labels)))].filter((name) => name !== '__name__').sort() : [];
  const names = newField('Field', 'string', fields.map(labels.length > 0 ? (field) => field.labels.__name__ ?? nameOf(field) : nameOf));
  const ofLabels = labels.map((name) => newField(name, 'string', fields.map((field) => field.labels[name] ?? '')));
  const figures = reducers.map((how) => newField(REDUCERS[how] ?? how, 'number', fields.map((field) => reduce(field.values, how))));
  return [frameOf('reduced', [names, ...ofLabels, ...figures])];
}

function filterFieldsByName(frames: Frame[], options: Options): Frame[] {
  const { include, exclude } = options;
  const isIn = (side: unknown, name: string): boolean => {
    const { names, pattern } = object(side);
    return texts(names).includes(name) || (text(pattern) !== '' && (readPattern(text(pattern))?.test(name) ?? false));
  };
  return frames
    .map((frame) => ({ ...frame, fields: frame.fields.filter((field) => (!isObject(include) || isIn(include, nameOf(field))) && !(isObject(exclude) && isIn(exclude, nameOf(field)))) }))
    .filter(({ fields }) => fields.length > 0);
}

/** Labels become columns of text, or rows with a label and its value. */
function labelsToFields(frames: Frame[], options: Options): Frame[] {
  if (options.mode === 'rows') {
    const labels = frames.flatMap(({ fields }) => fields.flatMap((field) => Object.entries(field.labels)));
    return [frameOf('A', [newField('label', 'string', labels.map(([name]) => name)), newField('value', 'string', labels.map(([, value]) => value))])];
  }
  const [kept, valueLabel] = [texts(options.keepLabels), text(options.valueLabel)];
  const made = frames.map((frame) => {
    const time = frame.fields.find(({ kind }) => kind === 'time');
    const value = frame.fields.find(({ kind }) => kind === 'number');
    if (!value) return frame;
    const names = Object.keys(value.labels).filter((name) => name !== '__name__' && name !== valueLabel && (kept.length === 0 || kept.includes(name)));
    const columns = names.map((name) => newField(name, 'string', new Array<string>(frame.length).fill(value.labels[name] ?? '')));
    const valueName = valueLabel ? (value.labels[valueLabel] ?? 'Value') : (value.labels.__name__ ?? value.name);
    return frameOf(frame.refId, [...(time ? [time] : []), ...columns, withName(value, valueName)]);
  });
  return merge(made);
}

function joinByLabels(frames: Frame[], options: Options): Frame[] {
  return merge(labelsToFields(frames, { valueLabel: options.value, keepLabels: options.join }).map((frame) => ({ ...frame, fields: frame.fields.filter(({ kind }) => kind !== 'time') })));
}

function renameByRegex(frames: Frame[], options: Options): Frame[] {
  const pattern = readPattern(text(options.regex));
  if (!pattern) return frames;
  const isGlobal = /^\/.*\/[imsu]*g/s.test(text(options.regex));
  const finder = new RegExp(pattern.source, pattern.flags + (isGlobal ? 'g' : ''));
  return frames.map((frame) => ({
    ...frame,
    fields: frame.fields.map((field) => (field.kind === 'time' ? field : { ...field, config: { ...field.config, displayName: nameOf(field).replace(finder, text(options.renamePattern)) } })),
  }));
}

const OPERATORS: Record<string, (a: number, b: number) => number> = { '+': (a, b) => a + b, '-': (a, b) => a - b, '*': (a, b) => a * b, '/': (a, b) => a / b, '%': (a, b) => a % b, '**': (a, b) => a ** b };

function calculateField(frames: Frame[], options: Options): Frame[] {
  return frames.map((frame) => {
    const made = options.mode === 'binary' ? binary(frame, object(options.binary)) : reduceRow(frame, object(options.reduce));
    if (!made) return frame;
    const named = text(options.alias) ? { ...made, name: text(options.alias) } : made;
    const kept = options.replaceFields === true ? frame.fields.filter(({ kind }) => kind === 'time') : frame.fields;
    return { ...frame, fields: [...kept, named] };
  });
}

function binary(frame: Frame, { left, right, operator }: Options): Field | null {
  const apply = OPERATORS[text(operator, '+')];
  const side = (written: unknown): ((row: number) => number) | null => {
    // Newer versions write `{ fixed: … }` or `{ matcher: { options: … } }`.
    const name = isObject(written) ? text(written.fixed) || text(object(written.matcher).options) : text(written);
    const field = frame.fields.find((field) => nameOf(field) === name);
    if (field) return (row) => numberAt(field, row);
    return number(name) === null ? null : () => Number(name);
  };
  const [a, b] = [side(left), side(right)];
  if (!apply || !a || !b) return null;
  return newField(`${text(left)} ${text(operator, '+')} ${text(right)}`, 'number', rows(frame).map((row) => apply(a(row), b(row))));
}

function reduceRow(frame: Frame, options: Options): Field {
  const only = texts(options.include);
  const how = text(options.reducer, 'sum');
  const fields = frame.fields.filter((field) => field.kind === 'number' && (only.length === 0 || only.includes(nameOf(field))));
  return newField(REDUCERS[how] ?? how, 'number', rows(frame).map((row) => reduce(fields.map((field) => numberAt(field, row)), how)));
}

const VALUE_OPERATORS: Record<string, string> = { greater: 'gt', greaterOrEqual: 'gte', lower: 'lt', lowerOrEqual: 'lte', equal: 'eq', notEqual: 'neq' };

function filterByValue(frames: Frame[], options: Options): Frame[] {
  const filters = objects(options.filters);
  return frames.map((frame) => {
    const passes = (row: number, filter: Options): boolean => {
      const field = frame.fields.find((field) => nameOf(field) === text(filter.fieldName));
      const config = object(filter.config);
      const wanted = object(config.options).value;
      const kind = text(config.id);
      if (!field) return false;
      const value = field.values[row];
      const isEmpty = value === null || value === undefined || Number.isNaN(value);
      if (kind === 'isNull') return isEmpty;
      if (kind === 'isNotNull') return !isEmpty;
      if (kind === 'regex') return readPattern(text(wanted))?.test(String(value)) ?? false;
      if (kind === 'equal' && field.kind === 'string') return String(value) === text(wanted);
      if (kind === 'notEqual' && field.kind === 'string') return String(value) !== text(wanted);
      return compare(numberAt(field, row), VALUE_OPERATORS[kind] ?? 'eq', Number(wanted));
    };
    const isMatch = (row: number) => (options.match === 'all' ? filters.every((filter) => passes(row, filter)) : filters.some((filter) => passes(row, filter)));
    return takeRows(frame, rows(frame).filter((row) => isMatch(row) === (options.type !== 'exclude')));
  });
}
