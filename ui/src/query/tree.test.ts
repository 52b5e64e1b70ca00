import { expect, test } from 'vitest';
import { type Node, children, text, title } from './tree';

const times = { offset: 0, offsetExpr: null, timestamp: null, startOrEnd: null };
const vector = (name: string, changes = {}): Node => ({
  type: 'vectorSelector', name, anchored: false, smoothed: false, matchers: [{ name: '__name__', type: '=', value: name }], ...times, ...changes,
});

test('parts of a tree are written as PromQL', () => {
  const matrix = { ...vector('http.requests', { matchers: [{ name: '__name__', type: '=', value: 'http.requests' }, { name: 'a', type: '!~', value: 'b"' }], offset: -60_000 }), type: 'matrixSelector', range: 300_000, rangeExpr: null } as Node;
  const rate: Node = { type: 'call', func: { name: 'rate' }, args: [matrix] };
  const sum: Node = { type: 'aggregation', op: 'sum', expr: rate, param: null, grouping: ['job', 'k8s.pod'], without: false };
  const matching = { card: 'many-to-one', labels: ['job'], on: true, include: ['zone'], fillValues: { lhs: null, rhs: 0 } };
  const division: Node = { type: 'binaryExpr', op: '/', lhs: sum, rhs: { type: 'parenExpr', expr: vector('up', { startOrEnd: 'end' }) }, matching, bool: false };
  expect(text(division)).toBe('sum by (job, "k8s.pod") (rate({"http.requests", a!~"b\\""}[5m] offset -1m)) / on (job) group_left (zone) fill_right (0) (up @ end())');
  expect(title(division)).toBe('/ on (job) group_left (zone) fill_right (0)');
  expect(children(division)).toHaveLength(2);
});

test('subqueries, parameters and durations that are computed keep their form', () => {
  const two: Node = { type: 'numberLiteral', val: '2' };
  const minute: Node = { type: 'numberLiteral', val: '60', duration: true };
  const computed: Node = { type: 'durationExpr', op: '*', lhs: two, rhs: minute, wrapped: true };
  const subquery: Node = { type: 'subquery', expr: vector('up'), range: 3_600_000, rangeExpr: null, step: 0, stepExpr: null, ...times, timestamp: 1500, offsetExpr: computed };
  expect(text(subquery)).toBe('up[1h:] @ 1.500 offset (2 * 1m)');
  const topk: Node = { type: 'aggregation', op: 'topk', expr: { type: 'unaryExpr', op: '-', expr: vector('up') }, param: two, grouping: ['a'], without: true };
  expect(text(topk)).toBe('topk without (a) (2, -up)');
});
