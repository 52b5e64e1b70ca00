/** Panels of old versions, translated to what replaced them. */
import type { Mapping, Override, Panel } from '../model';
import { oldMapping, readOldThresholds } from './field';
import { type Json, flag, list, number, object, objects, text } from './json';

/** By the kind in the JSON: completes a panel that `readPanel` has begun. */
export const LEGACY: Record<string, (panel: Panel, json: Json) => void> = {
  graph: readGraph,
  singlestat: readSingleStat,
  'grafana-singlestat-panel': readSingleStat,
  gauge: readOldGauge,
  table: readOldTable,
  'table-old': readOldTable,
  text: readOldText,
  heatmap: readOldHeatmap,
  'grafana-piechart-panel': readOldPie,
};

const OLD_CALCS: Record<string, string> = { current: 'lastNotNull', avg: 'mean', total: 'sum', min: 'min', max: 'max', first: 'first', delta: 'delta', diff: 'diff', range: 'range' };

const calcOf = (name: string): string => OLD_CALCS[name] ?? 'mean';

function readGraph(panel: Panel, json: Json): void {
  panel.kind = 'timeseries';
  const [left, right] = objects(json.yaxes);
  const { field } = panel;
  field.unit = text(left?.format) === 'short' ? 'short' : text(left?.format);
  field.min = number(left?.min);
  field.max = number(left?.max);
  field.decimals = number(left?.decimals) ?? number(json.decimals);
  const mode = flag(json.bars) ? 'bars' : flag(json.lines, true) ? 'line' : 'points';
  field.custom = {
    drawStyle: mode,
    lineWidth: number(json.linewidth) ?? 1,
    fillOpacity: Math.min(100, (number(json.fill) ?? 1) * 10),
    spanNulls: json.nullPointMode === 'connected',
    lineInterpolation: flag(json.steppedLine) ? 'stepAfter' : 'linear',
    stacking: { mode: !flag(json.stack) ? 'none' : flag(json.percentage) ? 'percent' : 'normal' },
    axisLabel: text(left?.label),
    scaleDistribution: { type: (number(left?.logBase) ?? 1) > 1 ? 'log' : 'linear' },
    thresholdsStyle: { mode: objects(json.thresholds).length > 0 ? 'line' : 'off' },
  };
  field.thresholds = objects(json.thresholds).map((step) => ({ value: number(step.value) ?? 0, color: text(step.lineColor) || 'red' }));
  const legend = object(json.legend);
  const calcs = ['min', 'max', 'avg', 'current', 'total'].filter((name) => flag(legend[name]));
  panel.options = {
    legend: {
      showLegend: flag(legend.show, true),
      displayMode: flag(legend.alignAsTable) && (flag(legend.values) || flag(legend.rightSide)) ? 'table' : 'list',
      placement: flag(legend.rightSide) ? 'right' : 'bottom',
      calcs: flag(legend.values) ? calcs.map(calcOf) : [],
    },
    tooltip: { mode: flag(object(json.tooltip).shared, true) ? 'multi' : 'single' },
  };
  const colors = Object.entries(object(json.aliasColors)).map(([name, color]): Override => override('byName', name, [['color', { mode: 'fixed', fixedColor: color }]]));
  const series = objects(json.seriesOverrides).map((rule) => seriesOverride(rule, right));
  panel.overrides = [...colors, ...series];
}

const override = (id: string, options: unknown, properties: [id: string, value: unknown][]): Override => ({
  matcher: { id, options },
  properties: properties.map(([id, value]) => ({ id, value })),
});

function seriesOverride(rule: Json, right: Json | undefined): Override {
  const alias = text(rule.alias);
  const isRegex = /^\/.*\/[a-z]*$/.test(alias);
  const properties: [string, unknown][] = [];
  if (typeof rule.color === 'string') properties.push(['color', { mode: 'fixed', fixedColor: rule.color }]);
  if (typeof rule.fill === 'number') properties.push(['custom.fillOpacity', rule.fill * 10]);
  if (typeof rule.linewidth === 'number') properties.push(['custom.lineWidth', rule.linewidth]);
  if (rule.bars === true) properties.push(['custom.drawStyle', 'bars']);
  if (rule.lines === false && rule.bars !== true) properties.push(['custom.drawStyle', 'points']);
  if (rule.transform === 'negative-Y') properties.push(['custom.transform', 'negative-Y']);
  if ('stack' in rule) properties.push(['custom.stacking', { mode: rule.stack === false ? 'none' : 'normal', group: text(rule.stack) }]);
  if (rule.yaxis === 2) {
    properties.push(['custom.axisPlacement', 'right'], ['unit', text(right?.format)]);
    if (number(right?.min) !== null) properties.push(['min', number(right?.min)]);
    if (number(right?.max) !== null) properties.push(['max', number(right?.max)]);
  }
  if (rule.hiddenSeries === true || rule.hideTooltip === true && rule.legend === false && rule.lines === false) properties.push(['custom.hideFrom', { viz: true, legend: true }]);
  if (rule.dashes === true) properties.push(['custom.lineStyle', { fill: 'dash' }]);
  return override(isRegex ? 'byRegexp' : 'byName', alias, properties);
}

function readOldMappings(json: Json): Mapping[] {
  if (json.mappingType === 2 || (json.mappingType === undefined && objects(json.valueMaps).length === 0)) {
    return objects(json.rangeMaps).map((map) => ({ kind: 'range', match: '', from: number(map.from) ?? -Infinity, to: number(map.to) ?? Infinity, text: text(map.text), color: '' }));
  }
  return objects(json.valueMaps).map((map) => oldMapping(text(map.value), text(map.text)));
}

function readSingleStat(panel: Panel, json: Json): void {
  const gauge = object(json.gauge);
  const isGauge = flag(gauge.show);
  panel.kind = isGauge ? 'gauge' : 'stat';
  const { field } = panel;
  field.unit = text(json.format);
  field.decimals = number(json.decimals);
  field.noValue = text(json.nullText);
  field.thresholds = readOldThresholds(text(json.thresholds), json.colors);
  field.mappings = readOldMappings(json);
  if (isGauge) {
    field.min = number(gauge.minValue) ?? 0;
    field.max = number(gauge.maxValue) ?? 100;
  }
  const isColored = flag(json.colorBackground) || flag(json.colorValue);
  const column = text(json.tableColumn);
  panel.options = {
    reduceOptions: { calcs: [json.valueName === 'name' ? 'last' : calcOf(text(json.valueName, 'avg'))], fields: column ? `/^${column}$/` : '' },
    colorMode: flag(json.colorBackground) ? 'background' : isColored ? 'value' : 'none',
    graphMode: flag(object(json.sparkline).show) ? 'area' : 'none',
    textMode: json.valueName === 'name' ? 'name' : 'value',
    prefix: text(json.prefix),
    postfix: text(json.postfix),
  };
  if (!isColored && !isGauge) field.thresholds = [];
}

/** Gauges of version 6 have everything in their options. */
function readOldGauge(panel: Panel, json: Json): void {
  const options = object(json.options);
  const old = object(options.fieldOptions);
  const values = object(options.valueOptions);
  if (Object.keys(old).length === 0 && Object.keys(values).length === 0) return;
  const defaults = object(old.defaults);
  panel.field.unit = text(defaults.unit) || text(values.unit);
  panel.field.decimals = number(defaults.decimals) ?? number(values.decimals);
  panel.field.min = number(defaults.min) ?? number(options.minValue) ?? 0;
  panel.field.max = number(defaults.max) ?? number(options.maxValue) ?? 100;
  const steps = objects(old.thresholds).length > 0 ? objects(old.thresholds) : objects(options.thresholds);
  panel.field.thresholds = steps.map((step) => ({ value: number(step.value) ?? -Infinity, color: text(step.color) })).sort((a, b) => a.value - b.value);
  panel.options = { ...options, reduceOptions: { calcs: list(old.calcs).length > 0 ? old.calcs : [calcOf(text(values.stat, 'current'))] } };
}

function readOldTable(panel: Panel, json: Json): void {
  const styles = objects(json.styles);
  if (styles.length === 0 && json.transform === undefined) return;
  panel.kind = 'table';
  if (json.transform === 'timeseries_aggregations') {
    const reducers = objects(json.columns).map(({ value }) => calcOf(text(value)));
    panel.transformations.push({ id: 'reduce', options: { reducers: reducers.length > 0 ? reducers : ['mean'] } });
  } else if (json.transform === 'timeseries_to_rows') {
    panel.transformations.push({ id: 'seriesToRows', options: {} });
  } else if (json.transform === 'timeseries_to_columns') {
    panel.transformations.push({ id: 'seriesToColumns', options: { byField: 'Time' } });
  } else {
    panel.transformations.push({ id: 'merge', options: {} });
  }
  const sort = object(json.sort);
  panel.options = { ...panel.options, sortColumn: number(sort.col), isDescending: flag(sort.desc) };
  // The first style that matches a column counts, the last override does.
  panel.overrides = styles.map(tableStyle).reverse();
}

function tableStyle(style: Json): Override {
  const pattern = text(style.pattern);
  const isRegex = /^\/.*\/[a-z]*$/.test(pattern) || /[*+^$]/.test(pattern);
  const properties: [string, unknown][] = [];
  if (text(style.alias)) properties.push(['displayName', text(style.alias)]);
  if (style.type === 'hidden') properties.push(['custom.hidden', true]);
  if (style.type === 'number') {
    properties.push(['unit', text(style.unit)]);
    if (number(style.decimals) !== null) properties.push(['decimals', number(style.decimals)]);
  }
  if (style.type === 'date') properties.push(['unit', 'dateTimeAsIso']);
  const mappings = objects(style.valueMaps).map((map) => ({ type: 1, value: map.value, text: map.text }));
  if (mappings.length > 0) properties.push(['mappings', mappings]);
  const limits = list(style.thresholds).map((value) => text(value)).filter(Boolean);
  if (style.colorMode && limits.length > 0) {
    const steps = readOldThresholds(limits.join(','), style.colors).map(({ value, color }) => ({ value: Number.isFinite(value) ? value : null, color }));
    properties.push(['thresholds', { mode: 'absolute', steps }], ['custom.cellOptions', { type: style.colorMode === 'value' ? 'color-text' : 'color-background' }]);
  }
  return override(isRegex ? 'byRegexp' : 'byName', pattern, properties);
}

function readOldText(panel: Panel, json: Json): void {
  if (typeof json.content !== 'string') return;
  panel.options = { mode: text(json.mode, 'markdown'), content: json.content };
}

function readOldHeatmap(panel: Panel, json: Json): void {
  const axis = object(json.yAxis);
  if (!('yAxis' in json)) return;
  panel.field.unit = text(axis.format);
  panel.field.decimals = number(axis.decimals);
  panel.options = { calculate: json.dataFormat !== 'tsbuckets', yAxis: { unit: text(axis.format) } };
}

function readOldPie(panel: Panel, json: Json): void {
  panel.field.unit = text(json.format);
  panel.field.decimals = number(json.decimals);
  const legend = object(json.legend);
  panel.options = {
    pieType: json.pieType === 'donut' ? 'donut' : 'pie',
    reduceOptions: { calcs: [calcOf(text(json.valueName, 'current'))] },
    legend: { showLegend: flag(legend.show, true), placement: json.legendType === 'Under graph' ? 'bottom' : 'right', values: [flag(legend.percentage) ? 'percent' : 'value'] },
  };
  panel.overrides = Object.entries(object(json.aliasColors)).map(([name, color]) => override('byName', name, [['color', { mode: 'fixed', fixedColor: color }]]));
}
