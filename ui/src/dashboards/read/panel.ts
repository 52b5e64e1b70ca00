/** Reads a panel of any version. */
import type { Panel, Place, Query } from '../model';
import { readField, readLinks, readOverrides } from './field';
import { type Json, flag, isObject, number, object, objects, text } from './json';
import { LEGACY } from './legacy';

/** Kinds under a name of their own that are drawn like another one. */
const SAME_KINDS: Record<string, string> = {
  'grafana-piechart-panel': 'piechart',
  'flant-statusmap-panel': 'status-history',
  'natel-discrete-panel': 'state-timeline',
  'grafana-polystat-panel': 'stat',
  'vonage-status-panel': 'stat',
  'table-old': 'table',
};

export function readPanel(json: Json, place: Place): Panel {
  const config = object(json.fieldConfig);
  const kind = text(json.type, 'unknown');
  const panel: Panel = {
    id: number(json.id) ?? 0,
    title: text(json.title),
    description: text(json.description),
    kind: SAME_KINDS[kind] ?? kind,
    place,
    repeat: text(json.repeat),
    repeatDirection: json.repeatDirection === 'v' ? 'v' : 'h',
    maxPerRow: number(json.maxPerRow) ?? 4,
    isTransparent: flag(json.transparent),
    queries: objects(json.targets).map(readQuery),
    refusal: refusalOf(json),
    dataOf: null,
    maxDataPoints: number(json.maxDataPoints),
    interval: text(json.interval),
    timeFrom: text(json.timeFrom),
    timeShift: text(json.timeShift),
    transformations: objects(json.transformations)
      .filter((step) => step.disabled !== true)
      .map((step) => ({ id: text(step.id), options: object(step.options) })),
    field: readField(object(config.defaults)),
    overrides: readOverrides(config.overrides),
    options: object(json.options),
    links: readLinks(json.links),
  };
  if (sourceName(json.datasource) === '-- Dashboard --') panel.dataOf = number(objects(json.targets)[0]?.panelId);
  LEGACY[kind]?.(panel, json);
  return panel;
}

function readQuery(json: Json, index: number): Query {
  const format = text(json.format);
  const isInstant = flag(json.instant);
  return {
    refId: text(json.refId) || String.fromCharCode(65 + (index % 26)),
    expr: text(json.expr),
    legend: text(json.legendFormat),
    isInstant,
    isRange: flag(json.range, !isInstant),
    format: format === 'table' || format === 'heatmap' ? format : 'time_series',
    interval: text(json.interval),
    intervalFactor: number(json.intervalFactor) ?? 1,
    isHidden: flag(json.hide),
  };
}

const sourceName = (source: unknown): string => (isObject(source) ? text(source.uid) : text(source));

/** Kinds of data sources that speak PromQL. */
const PROMQL = /prometheus|mimir|cortex|thanos|victoriametrics|amazon-managed-service/i;

/** Says why no query can be sent: the panel wants another kind of database. */
function refusalOf(json: Json): string {
  const kinds = [json.datasource, ...objects(json.targets).map(({ datasource }) => datasource)].map((source) => text(object(source).type)).filter(Boolean);
  const other = kinds.find((kind) => kind !== 'datasource' && kind !== 'mixed' && !PROMQL.test(kind));
  if (other && !kinds.some((kind) => PROMQL.test(kind))) return `This panel asks a data source of the kind “${other}”. This server answers PromQL only.`;
  const targets = objects(json.targets);
  if (targets.length > 0 && targets.every(({ expr }) => typeof expr !== 'string') && sourceName(json.datasource) !== '-- Dashboard --') {
    return 'This panel has no PromQL query.';
  }
  return '';
}
