import { describe, expect, test } from 'vitest';
import { timeLabels } from './axis';
import { type Area, extent, nearestLine, nearestStep, padded, scaleOf, stack, yOf } from './geometry';
import { heatOf } from './heat';
import { type Look, plainLook } from './look';

const plain = (number: number) => plainLook(number, false, 1);
const stacked = (number: number) => plainLook(number, true, 1);
const line = (...values: number[]) => ({ labels: {}, values: Float64Array.from(values) });

describe('scales', () => {
  const lines = [line(1, 2, NaN), line(10, Infinity, 30)];

  test('ignore what cannot be drawn', () => {
    expect(extent(lines, [0, 1], plain, 0, 3)).toEqual([1, 30]);
    expect(extent([line(NaN)], [0], plain, 0, 1)).toBeNull();
  });

  test('of stacked lines reach the highest sum', () => {
    expect(extent(lines, [0, 1], stacked, 0, 3)).toEqual([0, 30]);
  });

  test('begin at zero where it is near, and where the user says', () => {
    const free = { min: null, max: null };
    expect(padded([1, 10], free)[0]).toBe(0);
    expect(padded([100, 101], free)[0]).toBeGreaterThan(99);
    expect(padded([5, 5], free)[0]).toBe(0);
    expect(padded([1, 10], { min: -5, max: 50 })).toEqual([-5, 50]);
  });

  test('of an axis ignore the lines of the other one', () => {
    const looks = (number: number): Look => ({ ...plain(number), axis: number === 1 ? 1 : 0 });
    expect(extent(lines, [0, 1], looks, 0, 3)).toEqual([1, 2]);
    expect(extent(lines, [0, 1], looks, 1, 3)).toEqual([10, 30]);
  });

  test('of logarithms end at powers of ten, above what a logarithm does not have', () => {
    const axis = { min: null, max: null, isLog: true, format: String, label: '' };
    expect(scaleOf([0, 300], axis, () => [0, 0.02, 300])).toEqual({ low: 0.01, high: 1000, isLog: true });
    const area: Area = { width: 1, height: 100, xs: new Float32Array(), scales: [{ low: 1, high: 100, isLog: true }, { low: 0, high: 1, isLog: false }] };
    expect([1, 10, 100, 0].map((value) => Math.round(yOf(area, value)))).toEqual([100, 50, 0, 100]);
  });
});

test('stacked lines lie on each other, and gaps count as nothing', () => {
  const tops: number[][] = [];
  stack([line(1, NaN), line(2, 3)], [0, 1], 2, (_, __, top) => tops.push([...top]));
  expect(tops).toEqual([[1, 0], [3, 3]]);
});

test('values below zero are stacked downwards', () => {
  const spans: number[][] = [];
  stack([line(1), line(-2), line(-3), line(4)], [0, 1, 2, 3], 1, (_, [from = NaN], [to = NaN]) => spans.push([from, to]));
  expect(spans).toEqual([[0, 1], [0, -2], [-2, -5], [1, 5]]);
});

test('the pointer finds the nearest step and line', () => {
  expect(nearestStep(Float32Array.of(0, 10, 20), 14)).toBe(1);
  expect(nearestStep(Float32Array.of(0, 10, 20), 99)).toBe(2);
  const lines = [line(1), line(5), line(NaN)];
  const scale = { low: 0, high: 10, isLog: false };
  const area: Area = { width: 1, height: 10, xs: new Float32Array(), scales: [scale, scale] };
  expect(nearestLine(lines, [0, 1, 2], plain, area, 0, 6)).toBe(1);
  expect(nearestLine(lines, [0, 1], stacked, area, 0, 9.5)).toBe(0);
  expect(nearestLine(lines, [2], plain, area, 0, 6)).toBeNull();
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
