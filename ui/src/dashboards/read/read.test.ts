import { describe, expect, test } from 'vitest';
import { ALL } from '../model';
import { readDashboard } from './dashboard';

const only = (json: unknown) => {
  const panel = readDashboard({ panels: [json] }).sections[0]?.panels[0];
  if (!panel) throw new Error('the dashboard has no panel');
  return panel;
};

describe('a dashboard', () => {
  test('has rows with the panels below them, and those of collapsed rows inside of them', () => {
    const { sections } = readDashboard({
      panels: [
        { type: 'row', title: 'B', collapsed: true, gridPos: { y: 9 }, panels: [{ id: 3, type: 'stat', gridPos: { y: 10 } }] },
        { id: 1, type: 'stat', gridPos: { y: 0, x: 0, w: 4, h: 4 } },
        { type: 'row', title: 'A', gridPos: { y: 4 } },
        { id: 2, type: 'stat', gridPos: { y: 5 } },
      ],
    });
    expect(sections.map(({ title, isCollapsed, panels }) => [title, isCollapsed, panels.map(({ id }) => id)])).toEqual([
      [null, false, [1]],
      ['A', false, [2]],
      ['B', true, [3]],
    ]);
  });

  test('of old versions has rows of twelve columns', () => {
    const { sections } = readDashboard({ rows: [{ title: 'T', showTitle: true, height: '380px', panels: [{ span: 8 }, { span: 4 }, { span: 12, height: 76 }] }] });
    expect(sections[0]?.title).toBe('T');
    expect(sections[0]?.panels.map(({ place }) => place)).toEqual([{ x: 0, y: 0, w: 16, h: 10 }, { x: 16, y: 0, w: 8, h: 10 }, { x: 0, y: 10, w: 24, h: 2 }]);
  });

  test('is read from the answer of the HTTP API of Grafana', () => {
    expect(readDashboard({ meta: {}, dashboard: { title: 'Inner', panels: [] } }).title).toBe('Inner');
  });

  test('of the second version of the schema is read, too', () => {
    const panel = {
      kind: 'Panel',
      spec: {
        id: 7,
        title: 'CPU',
        data: { kind: 'QueryGroup', spec: { queries: [{ kind: 'PanelQuery', spec: { refId: 'A', query: { kind: 'DataQuery', group: 'prometheus', spec: { expr: 'up' } } } }], transformations: [{ kind: 'reduce', spec: { id: 'reduce', options: {} } }] } },
        vizConfig: { kind: 'VizConfig', group: 'stat', spec: { options: {}, fieldConfig: { defaults: { unit: 'bytes' } } } },
      },
    };
    const layout = { kind: 'RowsLayout', spec: { rows: [{ spec: { title: 'R', layout: { kind: 'GridLayout', spec: { items: [{ spec: { x: 2, y: 0, width: 6, height: 5, element: { name: 'p' } } }] } } } }] } };
    const { title, sections, variables } = readDashboard({ apiVersion: 'dashboard.grafana.app/v2', spec: { title: 'V2', elements: { p: panel }, layout, variables: [{ kind: 'QueryVariable', spec: { name: 'job', query: { kind: 'DataQuery', spec: { query: 'label_values(job)' } } } }] } });
    expect(title).toBe('V2');
    expect(variables[0]).toMatchObject({ kind: 'query', query: 'label_values(job)' });
    expect(sections[0]?.panels[0]).toMatchObject({ id: 7, kind: 'stat', place: { x: 2, w: 6, h: 5 }, queries: [{ expr: 'up' }], field: { unit: 'bytes' }, transformations: [{ id: 'reduce' }] });
  });

  test('says what is no dashboard', () => {
    expect(() => readDashboard([])).toThrow('A dashboard is a JSON object');
    expect(() => readDashboard({ groups: [] })).toThrow('neither “panels” nor “rows”');
  });

  test('survives values of wrong types', () => {
    const { sections } = readDashboard({ title: 5, tags: 'x', templating: [], panels: [7, { gridPos: 'x', targets: { a: 1 }, fieldConfig: [], options: null, id: {}, type: [] }, { gridPos: { w: -5, h: 1e9, x: 99 } }] });
    expect(sections[0]?.panels.map(({ place }) => place.w)).toEqual([12, 1]);
  });

  test('cannot reach the prototype of objects', () => {
    only({ fieldConfig: JSON.parse('{"defaults":{"__proto__":{"harmed":1},"custom.__proto__.harmed":1}}') });
    expect(({} as Record<string, unknown>).harmed).toBeUndefined();
  });
});

describe('panels of old versions', () => {
  test('graphs become time series with their axes, stacks and overrides', () => {
    const panel = only({
      type: 'graph', stack: true, fill: 5, yaxes: [{ format: 'bytes', min: '0', logBase: 1 }, { format: 'percent' }],
      aliasColors: { a: '#ff0000' }, seriesOverrides: [{ alias: '/out/', transform: 'negative-Y', yaxis: 2 }], legend: { show: true, values: true, current: true, avg: true, alignAsTable: true },
    });
    expect(panel.kind).toBe('timeseries');
    expect(panel.field).toMatchObject({ unit: 'bytes', min: 0, custom: { fillOpacity: 50, stacking: { mode: 'normal' } } });
    expect(panel.overrides[1]?.matcher).toEqual({ id: 'byRegexp', options: '/out/' });
    expect(panel.overrides[1]?.properties).toContainEqual({ id: 'unit', value: 'percent' });
    expect(panel.options.legend).toMatchObject({ displayMode: 'table', calcs: ['mean', 'lastNotNull'] });
  });

  test('single stats become stats, or gauges if they show one', () => {
    const stat = only({ type: 'singlestat', format: 's', valueName: 'current', thresholds: '1,2', colors: ['green', 'orange', 'red'], colorValue: true, valueMaps: [{ value: 'null', text: 'N/A' }, { value: '1', text: 'UP' }] });
    expect(stat).toMatchObject({ kind: 'stat', options: { colorMode: 'value', reduceOptions: { calcs: ['lastNotNull'] } } });
    expect(stat.field.thresholds).toEqual([{ value: -Infinity, color: 'green' }, { value: 1, color: 'orange' }, { value: 2, color: 'red' }]);
    expect(stat.field.mappings.map(({ kind, text }) => [kind, text])).toEqual([['special', 'N/A'], ['value', 'UP']]);
    expect(only({ type: 'singlestat', gauge: { show: true, maxValue: 50 } })).toMatchObject({ kind: 'gauge', field: { max: 50 } });
  });

  test('styles of tables become overrides, of which the first that matches counts', () => {
    const panel = only({ type: 'table', transform: 'table', styles: [{ pattern: 'Time', type: 'hidden' }, { pattern: '/.*/', type: 'number', unit: 'bytes', alias: 'Size' }] });
    expect(panel.overrides.map(({ matcher }) => matcher.options)).toEqual(['/.*/', 'Time']);
    expect(panel.overrides[1]?.properties).toEqual([{ id: 'custom.hidden', value: true }]);
  });
});

test('panels for other databases say so', () => {
  expect(only({ type: 'logs', datasource: { type: 'loki' }, targets: [{ expr: '{}' }] }).refusal).toContain('loki');
  expect(only({ datasource: { type: 'prometheus', uid: 'x' }, targets: [{ expr: 'up' }] }).refusal).toBe('');
  expect(only({ datasource: '${DS}', targets: [{ expr: 'up' }] }).refusal).toBe('');
});

test('variables are read in all their forms', () => {
  const { variables } = readDashboard({
    panels: [],
    templating: {
      list: [
        { name: 'a', type: 'query', query: { query: 'label_values(up, job)', refId: 'x' }, current: { text: 'All', value: ['$__all'] }, includeAll: true, multi: true },
        { name: 'b', type: 'custom', query: 'one : 1, two\\, three', current: { value: '1' } },
        { name: 'c', type: 'constant', query: 'fixed' },
      ],
    },
    __inputs: [{ name: 'VAR_X', type: 'constant', value: 'from input' }],
  });
  expect(variables.map(({ name, kind, query }) => [name, kind, query])).toEqual([['VAR_X', 'constant', 'from input'], ['a', 'query', 'label_values(up, job)'], ['b', 'custom', 'one : 1, two\\, three'], ['c', 'constant', 'fixed']]);
  expect(variables[1]?.initial).toEqual([ALL]);
  expect(variables[2]?.options).toEqual([{ text: 'one', value: '1' }, { text: 'two, three', value: 'two, three' }]);
  expect(variables[3]?.initial).toEqual(['fixed']);
});
