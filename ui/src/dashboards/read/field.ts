/** Reads how values are shown: units, thresholds, mappings and overrides. */
import { type FieldConfig, type Link, type Mapping, type Override, type Threshold, emptyField } from '../model';
import { type Json, isObject, list, number, object, objects, text } from './json';

export function readField(json: Json): FieldConfig {
  const field = emptyField();
  for (const [name, value] of Object.entries(json)) setProperty(field, name, value);
  return field;
}

/** Sets a property by the name that overrides use for it. */
export function setProperty(field: FieldConfig, id: string, value: unknown): void {
  if (id.startsWith('custom.')) {
    setPath(field.custom, id.slice('custom.'.length).split('.'), value);
    return;
  }
  switch (id) {
    case 'unit': field.unit = text(value); break;
    case 'decimals': field.decimals = number(value); break;
    case 'min': field.min = number(value); break;
    case 'max': field.max = number(value); break;
    case 'displayName': field.displayName = text(value); break;
    case 'noValue': field.noValue = text(value); break;
    case 'mappings': field.mappings = readMappings(value); break;
    case 'links': field.links = readLinks(value); break;
    case 'custom': field.custom = structuredClone(object(value)); break;
    case 'color':
      field.colorMode = text(object(value).mode);
      field.fixedColor = text(object(value).fixedColor);
      break;
    case 'thresholds':
      field.isPercentage = object(value).mode === 'percentage';
      field.thresholds = objects(object(value).steps).map(readThreshold).sort((a, b) => a.value - b.value);
      break;
  }
}

function setPath(into: Json, path: string[], value: unknown): void {
  const [name, ...rest] = path;
  if (name === undefined || name === '__proto__') return;
  if (rest.length === 0) {
    into[name] = value;
    return;
  }
  const next = isObject(into[name]) ? into[name] : {};
  into[name] = next;
  setPath(next, rest, value);
}

function readThreshold(json: Json): Threshold {
  return { value: number(json.value) ?? -Infinity, color: text(json.color) };
}

export function readLinks(value: unknown): Link[] {
  return objects(value)
    .map((json) => ({ title: text(json.title), url: text(json.url) }))
    .filter(({ url }) => url !== '');
}

export function readOverrides(value: unknown): Override[] {
  return objects(value).map((json) => ({
    matcher: { id: text(object(json.matcher).id), options: object(json.matcher).options },
    properties: objects(json.properties).map(({ id, value }) => ({ id: text(id), value })),
  }));
}

export function readMappings(value: unknown): Mapping[] {
  return objects(value).flatMap((json): Mapping[] => {
    const options = object(json.options);
    const result = object(options.result);
    const shown = { text: 'text' in result ? text(result.text) : null, color: text(result.color) };
    const range = { from: number(options.from) ?? -Infinity, to: number(options.to) ?? Infinity };
    switch (json.type) {
      case 'value':
        return Object.entries(options).map(([match, to]) => ({
          kind: 'value', match, from: NaN, to: NaN, text: 'text' in object(to) ? text(object(to).text) : null, color: text(object(to).color),
        }));
      case 'range':
        return [{ kind: 'range', match: '', ...range, ...shown }];
      case 'regex':
        return [{ kind: 'regex', match: text(options.pattern), from: NaN, to: NaN, ...shown }];
      case 'special':
        return [{ kind: 'special', match: text(options.match), from: NaN, to: NaN, ...shown }];
      // Before version 8.
      case 1:
        return [oldMapping(text(json.value), text(json.text))];
      case 2:
        return [{ kind: 'range', match: '', from: number(json.from) ?? -Infinity, to: number(json.to) ?? Infinity, text: text(json.text), color: '' }];
      default:
        return [];
    }
  });
}

/** A mapping of one value, in which `null` stands for no value. */
export function oldMapping(value: string, shown: string): Mapping {
  const common = { from: NaN, to: NaN, text: shown, color: '' };
  return value === 'null' ? { kind: 'special', match: 'null+nan', ...common } : { kind: 'value', match: value, ...common };
}

/** Thresholds of the form `50,80` with the colours of the three ranges between them. */
export function readOldThresholds(limits: string, colors: unknown): Threshold[] {
  const bounds = limits.split(',').map(number).filter((value) => value !== null);
  const shades = list(colors).map((color) => text(color));
  return [-Infinity, ...bounds].map((value, i) => ({ value, color: shades[i] ?? '' }));
}
