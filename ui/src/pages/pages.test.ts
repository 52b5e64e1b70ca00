import { expect, test } from 'vitest';
import { lanesOf } from './blocks';
import { changesOf, ruleText } from './relabel-steps';

test('blocks of the same length of window share rows where they do not overlap', () => {
  const block = (windowStart: number, windowEnd: number) => ({ windowStart, windowEnd });
  const lanes = lanesOf([block(0, 10), block(10, 20), block(0, 10), block(0, 100)]);
  expect(lanes.map(({ rows }) => rows.map((row) => row.map(({ windowStart }) => windowStart)))).toEqual([[[0]], [[0, 10], [0]]]);
});

test('relabelling rules are written shortly, with what they changed', () => {
  expect(ruleText({ source_labels: ['a', 'b'], separator: ';', regex: '(.+);x', target_label: 'c', replacement: '$1', action: 'replace' })).toBe('replace [a, b] matching (.+);x → c');
  expect(ruleText({ source_labels: ['env'], separator: ';', regex: 'prod', replacement: '$1', action: 'keep' })).toBe('keep [env] matching prod');
  expect(changesOf({ a: '1', b: '2' }, { b: '3', c: '4' })).toEqual([{ name: 'a', before: '1', after: null }, { name: 'b', before: '2', after: '3' }, { name: 'c', before: null, after: '4' }]);
});
