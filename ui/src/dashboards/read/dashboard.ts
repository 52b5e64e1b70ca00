/** Reads a dashboard from Grafana's JSON of any version. */
import type { Dashboard, Panel, Place, Section } from '../model';
import { readLinks } from './field';
import { type Json, flag, isObject, number, object, objects, text, texts } from './json';
import { readPanel } from './panel';
import { fromVersion2 } from './version2';
import { readVariable } from './variable';

const MAX_PANELS = 1000;
/** The height of a grid unit with its margin in old versions, pixels. */
const OLD_UNIT = 38;

/**
 * Reads a dashboard: as exported, as the HTTP API of Grafana sends it, or of the second version of the schema.
 * Throws an error that says why the text is none.
 */
export function readDashboard(json: unknown): Dashboard {
  if (!isObject(json)) throw new Error('A dashboard is a JSON object. This is something else.');
  const outer = isObject(json.dashboard) ? json.dashboard : json;
  const source = fromVersion2(outer) ?? outer;
  if (!Array.isArray(source.panels) && !Array.isArray(source.rows)) {
    throw new Error('This JSON has neither “panels” nor “rows”, so it is not a dashboard of Grafana.');
  }
  const notes: string[] = [];
  const sections = Array.isArray(source.panels) && source.panels.length > 0 ? sectionsOf(source, notes) : sectionsOfRows(source);
  const variables = objects(object(source.templating).list).map(readVariable).filter(({ name }) => name !== '');
  // What an exported dashboard leaves to be filled in.
  for (const input of objects(source.__inputs)) {
    const kind = input.type === 'datasource' ? 'datasource' : 'constant';
    variables.unshift(readVariable({ name: input.name, type: kind, query: text(input.value), hide: 2 }));
  }
  for (const { kind, label } of variables) {
    if (kind === 'unknown' || kind === 'adhoc') notes.push(`The variable “${label}” is of a kind that this page does not know, and stays empty.`);
  }
  const time = object(source.time);
  return {
    uid: text(source.uid),
    title: text(source.title, 'Untitled dashboard'),
    description: text(source.description),
    tags: texts(source.tags),
    from: text(time.from, 'now-1h'),
    to: text(time.to, 'now'),
    refresh: text(source.refresh),
    timezone: source.timezone === 'utc' ? 'utc' : 'browser',
    variables,
    sections,
    links: readLinks(source.links),
    notes,
    source: outer,
  };
}

function readPlace(value: unknown): Place {
  const json = object(value);
  const w = clamp(number(json.w) ?? 12, 1, 24);
  return { x: clamp(number(json.x) ?? 0, 0, 24 - w), y: clamp(number(json.y) ?? 0, 0, 100_000), w, h: clamp(number(json.h) ?? 8, 1, 200) };
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(Math.round(value), low), high);

/** A panel of the library is in the JSON only if it was exported with it. */
function withLibrary(json: Json, source: Json): Json {
  const library = object(json.libraryPanel);
  const element = object(object(source.__elements)[text(library.uid)]);
  const model = object(library.model ?? element.model);
  return Object.keys(model).length > 0 ? { ...model, gridPos: json.gridPos, id: json.id, title: json.title ?? model.title } : json;
}

function sectionsOf(source: Json, notes: string[]): Section[] {
  const all = objects(source.panels).map((json) => withLibrary(json, source));
  const ordered = all.map((json) => ({ json, place: readPlace(json.gridPos) })).sort((a, b) => a.place.y - b.place.y || a.place.x - b.place.x);
  const sections: Section[] = [];
  let count = 0;
  for (const { json, place } of ordered) {
    if (json.type === 'row') {
      const section = newSection(`row-${sections.length}`, text(json.title), flag(json.collapsed), text(json.repeat));
      for (const inner of objects(json.panels)) {
        if (count++ < MAX_PANELS) section.panels.push(readPanel(withLibrary(inner, source), readPlace(inner.gridPos)));
      }
      sections.push(section);
      continue;
    }
    if (sections.length === 0) sections.push(newSection('top', null, false, ''));
    if (count++ < MAX_PANELS) sections.at(-1)?.panels.push(readPanel(json, place));
  }
  if (count > MAX_PANELS) notes.push(`Of ${count} panels the first ${MAX_PANELS} are shown.`);
  return sections;
}

function newSection(id: string, title: string | null, isCollapsed: boolean, repeat: string): Section {
  return { id, title, isCollapsed, repeat, panels: [] };
}

/** Before version 5: rows of panels with spans of twelve columns and heights in pixels. */
function sectionsOfRows(source: Json): Section[] {
  return objects(source.rows).map((row, i) => {
    const panels: Panel[] = [];
    let [x, y, rowHeight] = [0, 0, 0];
    for (const json of objects(row.panels).slice(0, MAX_PANELS)) {
      const w = clamp((number(json.span) ?? 4) * 2, 1, 24);
      const h = oldHeight(json.height ?? row.height);
      if (x + w > 24) [x, y, rowHeight] = [0, y + rowHeight, 0];
      panels.push(readPanel(json, { x, y, w, h }));
      x += w;
      rowHeight = Math.max(rowHeight, h);
    }
    const isTitled = flag(row.showTitle) || flag(row.collapse) || text(row.repeat) !== '';
    return { ...newSection(`row-${i}`, isTitled ? text(row.title) : null, flag(row.collapse), text(row.repeat)), panels };
  });
}

const oldHeight = (value: unknown): number => clamp(Math.ceil((number(text(value).replace(/px$/, '')) ?? 250) / OLD_UNIT), 2, 200);
