import { describe, expect, test } from 'vitest';
import { formatDuration, formatSeconds, parseDuration } from './duration';
import { formatBytes, formatCount, formatShort, parseValue, plural } from './number';
import { type LabelMap, commonLabels, formatSeries, selector } from './series';
import { formatAgo, formatTime, parseRfc3339, parseTime } from './time';

describe('durations', () => {
  test('are read as Prometheus reads them', () => {
    expect(parseDuration('1h30m')).toBe(5_400_000);
    expect(parseDuration('2w')).toBe(14 * 86_400_000);
    expect(parseDuration('1s500ms')).toBe(1500);
  });

  test.each(['', '0s', 'h', '1', '1m1h', '-1h', '1 h', '99999999999999999y'])('%j is none', (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  test.each(['1h', '5m', '1h30m', '10d', '2w', '1y', '15s', '250ms', '1d12h'])('%s survives being read and written', (text) => {
    expect(formatDuration(parseDuration(text) ?? 0)).toBe(text);
  });

  test('have three digits for people', () => {
    expect([0.00001234, 0.0456, 1.2345, 150, 7265, 200_000].map(formatSeconds)).toEqual(['12.3µs', '45.6ms', '1.23s', '2m30s', '2h1m', '2d7h']);
  });
});

describe('numbers', () => {
  test('are short on axes', () => {
    expect([0, 0.00001, 0.25, 999, 12_345, 5_000_000, -2e9, 1e30, NaN, Infinity].map((value) => formatShort(value))).toEqual([
      '0', '1.00e-5', '0.25', '999', '12.35k', '5M', '-2G', '1.00e30', 'NaN', '+Inf',
    ]);
  });

  test('of the API are read with its infinities', () => {
    expect(parseValue('+Inf')).toBe(Infinity);
    expect(parseValue('-Inf')).toBe(-Infinity);
    expect(parseValue('NaN')).toBeNaN();
    expect(parseValue('1.5e3')).toBe(1500);
  });

  test('have units and nouns', () => {
    expect(formatBytes(1536)).toBe('1.5 KiB');
    expect(formatCount(1234567)).toBe('1,234,567');
    expect(plural(1, 'target')).toBe('1 target');
    expect(plural(0, 'target')).toBe('0 targets');
  });
});

describe('times', () => {
  test('are the same after being written and read', () => {
    const at = Date.UTC(2026, 10, 30, 20, 21, 7);
    expect(formatTime(at, 'utc')).toBe('2026-11-30 20:21:07');
    expect(parseTime('2026-11-30 20:21:07', 'utc')).toBe(at);
    expect(parseTime(formatTime(at, 'local'), 'local')).toBe(at);
  });

  test('that are none are refused', () => {
    expect(parseTime('yesterday')).toBeNull();
    expect(parseTime('')).toBeNull();
  });

  test('of Go that stand for never are no times', () => {
    expect(parseRfc3339('0001-01-01T00:00:00Z')).toBeNaN();
    expect(formatAgo(NaN, 0)).toBe('never');
    expect(formatAgo(0, 75_000)).toBe('1m 15s ago');
  });
});

describe('series', () => {
  test('are written in the syntax of PromQL', () => {
    expect(formatSeries({ __name__: 'up', job: 'a"b', instance: 'x' })).toBe('up{instance="x", job="a\\"b"}');
    expect(formatSeries({ __name__: 'up' })).toBe('up');
    expect(formatSeries({ __name__: 'http.requests', 'k8s.pod': 'p' })).toBe('{"http.requests", "k8s.pod"="p"}');
    expect(formatSeries({})).toBe('{}');
  });

  test('have labels in common that tell none of them apart', () => {
    const all: LabelMap[] = [{ __name__: 'up', job: 'a', zone: 'x' }, { __name__: 'up', job: 'a', zone: 'y' }, { __name__: 'up', job: 'a' }];
    expect([...commonLabels(all)]).toEqual(['job']);
    expect(commonLabels(all.slice(0, 1)).size).toBe(0);
  });

  test('are selected by names that need quotes, too', () => {
    expect(selector('a b', ['x="y"'])).toBe('{"a b", x="y"}');
  });
});
