/** Translates the second version of the schema, in which panels, layout and variables are apart, to the first. */
import { type Json, flag, isObject, number, object, objects, text } from './json';

const HIDES: Record<string, number> = { hideVariable: 2, hideLabel: 1, dontHide: 0 };

/** The dashboard in the first version's form. Null if the JSON is not of the second version. */
export function fromVersion2(json: Json): Json | null {
  const spec = isObject(json.spec) && isObject(json.spec.elements) ? json.spec : isObject(json.elements) ? json : null;
  if (!spec) return null;
  const time = object(spec.timeSettings);
  return {
    uid: text(object(json.metadata).name),
    title: spec.title,
    description: spec.description,
    tags: spec.tags,
    time: { from: text(time.from, 'now-1h'), to: text(time.to, 'now') },
    refresh: text(time.autoRefresh),
    timezone: time.timezone,
    links: spec.links,
    templating: { list: objects(spec.variables).map(variableOf) },
    panels: layOut(object(spec.layout), object(spec.elements)),
  };
}

function variableOf(json: Json): Json {
  const spec = object(json.spec);
  const kind = text(json.kind).replace(/Variable$/, '').toLowerCase();
  const query = object(spec.query);
  const isQuery = kind === 'query';
  return {
    ...spec,
    type: kind === 'text' ? 'textbox' : kind,
    hide: HIDES[text(spec.hide)] ?? 0,
    query: isQuery ? object(query.spec) : spec.query ?? spec.pluginId,
    definition: spec.definition,
  };
}

/** Panels on the grid of the first version, below each other where the layout places them itself. */
function layOut(layout: Json, elements: Json, top = { y: 0 }): Json[] {
  const spec = object(layout.spec);
  switch (layout.kind) {
    case 'GridLayout':
      return grid(spec, elements, top);
    case 'AutoGridLayout':
      return autoGrid(spec, elements, top);
    case 'RowsLayout':
      return objects(spec.rows).flatMap((row) => rowOf(object(row.spec), elements, top));
    case 'TabsLayout':
      return objects(spec.tabs).flatMap((tab) => rowOf(object(tab.spec), elements, top));
    default:
      return [];
  }
}

function rowOf(spec: Json, elements: Json, top: { y: number }): Json[] {
  const isCollapsed = flag(spec.collapse);
  const row = { type: 'row', title: spec.title, collapsed: isCollapsed, repeat: text(object(spec.repeat).value), gridPos: { x: 0, y: top.y++, w: 24, h: 1 } };
  const inner = layOut(object(spec.layout), elements, top);
  return isCollapsed ? [{ ...row, panels: inner }] : [row, ...inner];
}

function grid(spec: Json, elements: Json, top: { y: number }): Json[] {
  const start = top.y;
  return objects(spec.items).map((item) => {
    const place = object(item.spec);
    const [y, height] = [start + (number(place.y) ?? 0), number(place.height) ?? 8];
    top.y = Math.max(top.y, y + height);
    const repeat = object(place.repeat);
    return {
      ...panelOf(object(elements[text(object(place.element).name)])),
      gridPos: { x: place.x, y, w: place.width, h: height },
      repeat: text(repeat.value),
      repeatDirection: repeat.direction,
      maxPerRow: repeat.maxPerRow,
    };
  });
}

function autoGrid(spec: Json, elements: Json, top: { y: number }): Json[] {
  const columns = Math.min(24, Math.max(1, number(spec.maxColumnCount) ?? 3));
  const w = Math.floor(24 / columns);
  const start = top.y;
  return objects(spec.items).map((item, i) => {
    const inner = object(item.spec);
    const y = start + Math.floor(i / columns) * 8;
    top.y = y + 8;
    return { ...panelOf(object(elements[text(object(inner.element).name)])), gridPos: { x: (i % columns) * w, y, w, h: 8 }, repeat: text(object(inner.repeat).value) };
  });
}

function panelOf(element: Json): Json {
  const spec = object(element.spec);
  const viz = object(spec.vizConfig);
  const data = object(object(spec.data).spec);
  const options = object(data.queryOptions);
  return {
    id: spec.id,
    title: spec.title,
    description: spec.description,
    links: spec.links,
    transparent: spec.transparent,
    type: text(viz.group) || text(viz.kind),
    options: object(viz.spec).options,
    fieldConfig: object(viz.spec).fieldConfig,
    targets: objects(data.queries).map(queryOf),
    transformations: objects(data.transformations).map((step) => ({ id: text(step.group) || text(step.kind), ...object(step.spec) })),
    ...options,
  };
}

function queryOf(json: Json): Json {
  const outer = object(json.spec);
  const query = object(outer.query);
  const kind = text(query.group) || (query.kind === 'DataQuery' ? '' : text(query.kind));
  return { ...object(query.spec), refId: outer.refId, hide: outer.hidden, datasource: kind ? { type: kind } : undefined };
}
