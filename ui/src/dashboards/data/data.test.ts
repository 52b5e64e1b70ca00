import { describe, expect, test } from 'vitest';
import { ALL, type Chosen, emptyField, type FieldConfig, type Variable } from '../model';
import { display, displayText } from './display';
import { safeColor } from './colors';
import { frameOf, nameOf, newField } from './frame';
import { legendOf } from './frames';
import { interpolate, type Scope } from './interpolate';
import { configure } from './overrides';
import { reduce } from './reduce';
import { intervalsOf, parseMoment, resolveRange, roundInterval } from './time-range';
import { transform } from './transform';
import { inUnit, shownText } from './units';
import { applyRegex, choose, readVariableQuery, sortOptions } from './variable-options';

const variable = (more: Partial<Variable>): Variable => ({
  name: 'v', label: 'v', kind: 'query', isHidden: false, isMulti: false, hasAll: false, allValue: '', query: '', regex: '', sort: 0, initial: [], options: [], ...more,
});

function scope(values: string[], more: Partial<Variable> = {}, others: Partial<Chosen> = {}): Scope {
  const options = ['a.b', 'c', 'd"e'].map((text) => ({ text, value: text }));
  return { variables: [{ variable: variable(more), values, options, isTruncated: false, ...others }], fixed: { __interval: '30s', __from: '1700000000000' }, repeated: {} };
}

describe('in queries', () => {
  const ask = (text: string, within: Scope) => interpolate(text, within, 'query');

  test('a variable of one value is put in as it is', () => {
    expect(ask('x{v="$v"}[$__interval]', scope(['a.b']))).toBe('x{v="a.b"}[30s]');
    expect(ask('[[v]] ${v} ${v:raw} $other', scope(['c']))).toBe('c c c $other');
  });

  test('several values become a pattern, whose points and quotes are escaped', () => {
    expect(ask('x{v=~"$v"}', scope(['a.b', 'd"e'], { isMulti: true }))).toBe('x{v=~"(a\\\\.b|d\\"e)"}');
    expect(ask('$v', scope(['a.b'], { isMulti: true }))).toBe('a\\\\.b');
  });

  test('all means every option, what the variable says, or anything if there are more than are known', () => {
    expect(ask('$v', scope([ALL], { hasAll: true }))).toBe('(a\\\\.b|c|d\\"e)');
    expect(ask('$v', scope([ALL], { hasAll: true, allValue: '.*' }))).toBe('.*');
    expect(ask('$v', scope([ALL], { hasAll: true }, { isTruncated: true }))).toBe('.+');
  });

  test('formats are obeyed', () => {
    const within = scope(['a.b', 'c'], { isMulti: true });
    expect(ask('${v:pipe} ${v:csv} ${v:json} ${v:regex} ${v:glob} ${v:queryparam}', within)).toBe('a.b|c a.b,c ["a.b","c"] (a\\.b|c) {a.b,c} var-v=a.b&var-v=c');
    expect(ask('${__from:date:seconds} ${__from:date:iso}', within)).toBe('1700000000 2023-11-14T22:13:20.000Z');
  });

  test('a repeated panel has the value of its own', () => {
    expect(ask('$v', { ...scope([ALL], { hasAll: true }), repeated: { v: { text: 'C', value: 'c' } } })).toBe('c');
  });
});

test('in texts, values are written for people', () => {
  expect(interpolate('of $v', scope(['a.b', 'c'], { isMulti: true }), 'text')).toBe('of a.b + c');
  expect(interpolate('of $v', scope([ALL], { hasAll: true }), 'text')).toBe('of All');
});

describe('queries of variables', () => {
  test('are understood', () => {
    expect(readVariableQuery('label_values(up{job=~"a,b"}, instance)')).toEqual({ kind: 'values', label: 'instance', selector: 'up{job=~"a,b"}' });
    expect(readVariableQuery('label_values(job)')).toEqual({ kind: 'values', label: 'job', selector: '' });
    expect(readVariableQuery('metrics(node_.*)')).toEqual({ kind: 'metrics', pattern: 'node_.*' });
    expect(readVariableQuery('query_result(topk(5, up))')).toEqual({ kind: 'result', expr: 'topk(5, up)' });
    expect(readVariableQuery('up{job="x"}')).toEqual({ kind: 'series', selector: 'up{job="x"}' });
  });

  test('have answers from which a pattern takes a part', () => {
    const texts = ['up{instance="h1:9100"} 1 5', 'up{instance="h2:9100"} 1 5', 'other'];
    expect(applyRegex(texts, '/instance="([^:]+)/').map(({ value }) => value)).toEqual(['h1', 'h2']);
    expect(applyRegex(texts, '/instance="(?<text>[^:]+):(?<value>\\d+)/')).toEqual([{ text: 'h2', value: '9100' }]);
    expect(applyRegex(['kept', 'dropped'], '/^(?!dropped)/')).toEqual([{ text: 'kept', value: 'kept' }]);
    expect(applyRegex(['a'], '/(/')).toEqual([{ text: 'a', value: 'a' }]);
  });

  test('have options in the order that the variable wants', () => {
    const options = ['n10', 'N2', 'n1'].map((text) => ({ text, value: text }));
    const order = (sort: number) => sortOptions(options, sort).map(({ text }) => text).join(' ');
    expect([order(1), order(3), order(4), order(7)]).toEqual(['N2 n1 n10', 'n1 N2 n10', 'n10 N2 n1', 'n1 N2 n10']);
  });

  test('keep what the address asks for if it exists', () => {
    const found = { options: [{ text: 'x', value: 'x' }, { text: 'y', value: 'y' }], isTruncated: false };
    expect(choose(variable({}), found, ['y'])).toEqual(['y']);
    expect(choose(variable({ initial: ['gone'] }), found, ['gone'])).toEqual(['x']);
    expect(choose(variable({ hasAll: true, isMulti: true }), found, ['All'])).toEqual([ALL]);
    expect(choose(variable({}), { ...found, isTruncated: true }, ['typed'])).toEqual(['typed']);
  });
});

describe('times', () => {
  const now = Date.UTC(2026, 10, 30, 12, 30);

  test('are read in Grafana’s words', () => {
    expect(parseMoment('now-6h', now, false)).toBe(now - 6 * 3_600_000);
    expect(parseMoment('now-1h+5m', now, false)).toBe(now - 55 * 60_000);
    expect(parseMoment('1700000000000', now, false)).toBe(1_700_000_000_000);
    expect(parseMoment('now/h', now, true)).toBe(Date.UTC(2026, 10, 30, 13) - 1);
    expect(parseMoment('soon', now, false)).toBeNull();
    expect(resolveRange('now', 'now-1h', now)).toEqual({ fromMs: now - 3_600_000, toMs: now });
  });

  test('have steps that are round, and rates that span enough of them', () => {
    expect(roundInterval(9000)).toBe(10_000);
    const range = { fromMs: 0, toMs: 3_600_000 };
    expect(intervalsOf(range, 1000, '')).toEqual({ stepMs: 15_000, rateMs: 60_000 });
    expect(intervalsOf(range, 100, '>1m')).toEqual({ stepMs: 60_000, rateMs: 240_000 });
    expect(intervalsOf({ fromMs: 0, toMs: 30 * 86_400_000 }, 1000, '')).toEqual({ stepMs: 1_800_000, rateMs: 1_815_000 });
  });
});

test('units are those of Grafana', () => {
  const shown = (value: number, unit: string, decimals: number | null = null) => shownText(inUnit(value, unit, decimals));
  const cases: [string, string][] = [
    [shown(1536, 'bytes'), '1.5 KiB'],
    [shown(1_500_000, 'decbytes'), '1.5 MB'],
    [shown(2048, 'kbytes'), '2 MiB'],
    [shown(125, 'Bps'), '125 B/s'],
    [shown(1500, 'ops'), '1.5K ops/s'],
    [shown(0.25, 'percentunit'), '25%'],
    [shown(0.0015, 's'), '1.5 ms'],
    [shown(3600, 's'), '1 hour'],
    [shown(90_000, 'ms', 1), '1.5 mins'],
    [shown(1_234_567, 'short'), '1.23 Mil'],
    [shown(0.005, 'amp'), '5 mA'],
    [shown(1, 'bool_yes_no'), 'Yes'],
    [shown(12, 'currencyUSD', 2), '$12.00'],
    [shown(5, 'suffix: apples'), '5 apples'],
    [shown(5, 'furlongs'), '5 furlongs'],
    [shown(Infinity, 'bytes'), '+Inf'],
    [shown(7, 'constructor'), '7 constructor'],
  ];
  for (const [is, wanted] of cases) expect(is).toBe(wanted);
});

describe('values are shown', () => {
  const field = (more: Partial<FieldConfig>): FieldConfig => ({ ...emptyField(), ...more });

  test('with the colour of their threshold', () => {
    const config = field({ thresholds: [{ value: -Infinity, color: 'green' }, { value: 80, color: '#ff0000' }] });
    expect(display(config, 90).color).toBe('#ff0000');
    expect(display({ ...config, isPercentage: true, max: 200 }, 90).color).not.toBe('#ff0000');
  });

  test('as their mapping says', () => {
    const mapping = { from: NaN, to: NaN, color: '' };
    const config = field({
      mappings: [
        { ...mapping, kind: 'value', match: '1', text: 'Up' },
        { ...mapping, kind: 'range', match: '', from: 5, to: 9, text: 'Some' },
        { ...mapping, kind: 'regex', match: '^v(\\d+)', text: 'version $1' },
        { ...mapping, kind: 'special', match: 'null+nan', text: 'N/A' },
      ],
    });
    expect([1, 7, 'v3', NaN, 2].map((value) => displayText(config, value))).toEqual(['Up', 'Some', 'version 3', 'N/A', '2']);
  });

  test('in no colour that could ask another server for something', () => {
    expect(['red', '#123', 'rgba(1, 2, 3, 0.5)', 'url(//x)', 'var(--x)', 'red;background:url(x)'].map((name) => safeColor(name) !== '')).toEqual([true, true, true, false, false, false]);
  });
});

test('values are reduced', () => {
  const values = [1, NaN, 3, 2];
  const results = ['lastNotNull', 'min', 'max', 'mean', 'sum', 'count', 'range', 'delta', 'diff', 'median', 'p50', 'changeCount'].map((how) => reduce(values, how));
  expect(results).toEqual([2, 1, 3, 2, 6, 4, 2, 2, 1, 2, 2, 2]);
  expect(reduce([], 'mean')).toBeNaN();
});

test('series are named by their legend, their labels or their configuration', () => {
  expect(legendOf('{{ job }}/{{missing}}', { job: 'a' })).toBe('a/');
  expect(nameOf(newField('A', 'number', [], { labels: { __name__: 'up', job: 'a' } }))).toBe('up{job="a"}');
  expect(nameOf(newField('A', 'number', [], { labels: { job: 'a' }, config: { ...emptyField(), displayName: 'of ${__field.labels.job}' } }))).toBe('of a');
});

test('overrides change the fields that they name', () => {
  const frames = [frameOf('A', [newField('Time', 'time', [1]), newField('A', 'number', [5], { legend: 'eth0 out' })])];
  const by = (id: string, options: unknown) => configure(frames, emptyField(), [{ matcher: { id, options }, properties: [{ id: 'unit', value: 'bytes' }, { id: 'custom.lineWidth', value: 3 }] }])[0]?.fields[1]?.config;
  for (const found of [by('byName', 'eth0 out'), by('byRegexp', '/out$/'), by('byFrameRefID', 'A'), by('byType', 'number')]) expect(found).toMatchObject({ unit: 'bytes', custom: { lineWidth: 3 } });
  expect(by('byName', 'other')?.unit).toBe('');
});

describe('transformations', () => {
  const table = (refId: string, rows: [string, number][]) => frameOf(refId, [newField('host', 'string', rows.map(([host]) => host)), newField(`Value #${refId}`, 'number', rows.map(([, value]) => value))]);
  const apply = (frames: ReturnType<typeof table>[], ...steps: [id: string, options: Record<string, unknown>][]) =>
    transform(frames, steps.map(([id, options]) => ({ id, options }))).frames.map(({ fields }) => Object.fromEntries(fields.map((field) => [nameOf(field), Array.from(field.values)])));

  test('merge tables by their common columns, then rename and hide some', () => {
    const merged = apply([table('A', [['x', 1], ['y', 2]]), table('B', [['y', 4], ['x', 3]])], ['merge', {}], ['organize', { renameByName: { 'Value #B': 'Second' }, excludeByName: { 'Value #A': true }, indexByName: { 'Value #B': 0, host: 1 } }]);
    expect(merged).toEqual([{ Second: [3, 4], host: ['x', 'y'] }]);
  });

  test('reduce series to rows', () => {
    const series = frameOf('A', [newField('Time', 'time', [1, 2]), newField('A', 'number', [5, 7], { labels: { job: 'j' } })]);
    expect(apply([series], ['reduce', { reducers: ['max', 'mean'] }])).toEqual([{ Field: ['{job="j"}'], Max: [7], Mean: [6] }]);
    expect(apply([series], ['reduce', { reducers: ['max'], labelsToFields: true }])[0]).toMatchObject({ job: ['j'], Max: [7] });
  });

  test('turn labels into columns', () => {
    const series = (job: string, value: number) => frameOf('A', [newField('Time', 'time', [1]), newField('A', 'number', [value], { labels: { __name__: 'up', job } })]);
    expect(apply([series('a', 1), series('b', 0)], ['labelsToFields', {}])).toEqual([{ Time: [1, 1], job: ['a', 'b'], up: [1, 0] }]);
  });

  test('join, group, calculate, filter, sort and limit', () => {
    const joined = apply([table('A', [['x', 1], ['y', 2]]), table('B', [['y', 4]])], ['joinByField', { byField: 'host' }], ['calculateField', { mode: 'binary', binary: { left: 'Value #A', operator: '*', right: '10' }, alias: 'Ten' }]);
    expect(joined).toEqual([{ host: ['x', 'y'], 'Value #A': [1, 2], 'Value #B': [NaN, 4], Ten: [10, 20] }]);
    const rows = table('A', [['x', 1], ['y', 5], ['x', 3]]);
    expect(apply([rows], ['groupBy', { fields: { host: { operation: 'groupby' }, 'Value #A': { operation: 'aggregate', aggregations: ['sum'] } } }])).toEqual([{ host: ['x', 'y'], 'Value #A (total)': [4, 5] }]);
    const filter = { type: 'include', match: 'any', filters: [{ fieldName: 'Value #A', config: { id: 'greater', options: { value: 1 } } }] };
    expect(apply([rows], ['filterByValue', filter], ['sortBy', { sort: [{ field: 'Value #A', desc: true }] }], ['limit', { limitField: 1 }])).toEqual([{ host: ['y'], 'Value #A': [5] }]);
    expect(apply([rows], ['filterFieldsByName', { include: { pattern: '/Value/' } }])).toEqual([{ 'Value #A': [1, 5, 3] }]);
  });

  test('that are not known are named and left out', () => {
    expect(transform([table('A', [['x', 1]])], [{ id: 'heatmapify', options: {} }, { id: 'constructor', options: {} }]).unknown).toEqual(['heatmapify', 'constructor']);
  });
});
