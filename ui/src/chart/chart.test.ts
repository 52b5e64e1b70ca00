import { describe, expect, test } from 'vitest';
import { timeLabels } from './axis';
import { extent, nearestLine, nearestStep, padded, stack } from './geometry';
import { heatOf } from './heat';

const line = (...values: number[]) => ({ labels: {}, values: Float64Array.from(values) });

describe('scales', () => {
  const lines = [line(1, 2, NaN), line(10, Infinity, 30)];

  test('ignore what cannot be drawn', () => {
    expect(extent(lines, [0, 1], false, 3)).toEqual([1, 30]);
    expect(extent([line(NaN)], [0], false, 1)).toBeNull();
  });

  test('of stacked lines reach the highest sum', () => {
    expect(extent(lines, [0, 1], true, 3)).toEqual([0, 30]);
  });

  test('begin at zero where it is near, and where the user says', () => {
    expect(padded([1, 10], null)[0]).toBe(0);
    expect(padded([100, 101], null)[0]).toBeGreaterThan(99);
    expect(padded([5, 5], null)[0]).toBe(0);
    expect(padded([1, 10], -5)[0]).toBe(-5);
  });
});

test('stacked lines lie on each other, and gaps count as nothing', () => {
  const tops: number[][] = [];
  stack([line(1, NaN), line(2, 3)], [0, 1], 2, (_, __, top) => tops.push([...top]));
  expect(tops).toEqual([[1, 0], [3, 3]]);
});

test('the pointer finds the nearest step and line', () => {
  expect(nearestStep(Float32Array.of(0, 10, 20), 14)).toBe(1);
  expect(nearestStep(Float32Array.of(0, 10, 20), 99)).toBe(2);
  const lines = [line(1), line(5), line(NaN)];
  expect(nearestLine(lines, [0, 1, 2], false, 0, 4)).toEqual({ line: 1, at: 5 });
  expect(nearestLine(lines, [0, 1], true, 0, 4)).toEqual({ line: 1, at: 6 });
  expect(nearestLine(lines, [2], false, 0, 4)).toBeNull();
});

describe('heatmaps', () => {
  const bucket = (le: string, ...values: number[]) => ({ labels: { le }, values: Float64Array.from(values) });

  test('of classic histograms have what lies between two bounds', () => {
    const heat = heatOf({ type: 'graph', times: Float64Array.of(0), lines: [bucket('+Inf', 10), bucket('1', 4), bucket('0.5', 1)], heat: [] });
    expect(heat?.bounds).toEqual([0, 0.5, 1, Infinity]);
    expect(heat?.columns[0]?.cells.map(({ count }) => count)).toEqual([1, 3, 6]);
    expect(heat?.most).toBe(6);
  });

  test('add series with the same bound', () => {
    const heat = heatOf({ type: 'graph', times: Float64Array.of(0), lines: [bucket('1', 1), bucket('1', 2), bucket('+Inf', 4)], heat: [] });
    expect(heat?.columns[0]?.cells).toEqual([{ low: 0, high: 1, count: 3 }, { low: 1, high: Infinity, count: 1 }]);
  });

  test('need buckets', () => {
    expect(heatOf({ type: 'graph', times: Float64Array.of(0), lines: [line(1)], heat: [] })).toBeNull();
  });
});

test('the time axis shows the date once, and where it changes', () => {
  const at = Date.UTC(2026, 10, 30, 23, 0) / 1000;
  expect(timeLabels([at, at + 1800, at + 3600], 1800, 'utc')).toEqual(['23:00\n2026-11-30', '23:30', '00:00\n2026-12-01']);
  expect(timeLabels([at + 3600], 86_400, 'utc')).toEqual(['2026-12-01']);
});
