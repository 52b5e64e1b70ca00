/** Ranges of time in Grafana's words, and the intervals that follow from them. */
import { formatDuration, parseDuration } from '../../format/duration';
import { parseTime } from '../../format/time';

export interface TimeRange {
  /** Milliseconds since the epoch. */
  fromMs: number;
  toMs: number;
}

const UNITS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 7 * 86_400_000, M: 30 * 86_400_000, y: 365 * 86_400_000 };

/** Reads `now-6h`, `now/d`, `now-1d/d`, milliseconds since the epoch, or a date. Null for anything else. */
export function parseMoment(text: string, nowMs: number, isEnd: boolean): number | null {
  const written = text.trim();
  if (/^\d{10,}$/.test(written)) return Number(written);
  const match = /^now((?:[+-]\d*[smhdwMy])*)(?:\/([smhdwMy]))?$/.exec(written);
  if (!match) return parseTime(written) ?? fromDate(written);
  let at = nowMs;
  for (const [, sign, count, unit] of (match[1] ?? '').matchAll(/([+-])(\d*)([smhdwMy])/g)) {
    at += (sign === '-' ? -1 : 1) * (count ? Number(count) : 1) * (UNITS[unit ?? ''] ?? 0);
  }
  return match[2] ? rounded(at, match[2], isEnd) : at;
}

function fromDate(text: string): number | null {
  const at = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : NaN;
  return Number.isFinite(at) ? at : null;
}

/** The beginning of the unit of the calendar that contains a moment, or its end. */
function rounded(ms: number, unit: string, isEnd: boolean): number {
  const date = new Date(ms);
  const [year, month, day] = [date.getFullYear(), date.getMonth(), date.getDate()];
  // A week begins on Sunday, as in Grafana by default.
  const starts: Record<string, [Date, Date]> = {
    d: [new Date(year, month, day), new Date(year, month, day + 1)],
    w: [new Date(year, month, day - date.getDay()), new Date(year, month, day - date.getDay() + 7)],
    M: [new Date(year, month, 1), new Date(year, month + 1, 1)],
    y: [new Date(year, 0, 1), new Date(year + 1, 0, 1)],
  };
  const bounds = starts[unit];
  if (bounds) return isEnd ? bounds[1].getTime() - 1 : bounds[0].getTime();
  const size = UNITS[unit] ?? 1;
  const start = Math.floor(ms / size) * size;
  return isEnd ? start + size - 1 : start;
}

/** The range that two texts name. One that makes no sense becomes the last hour. */
export function resolveRange(from: string, to: string, nowMs: number): TimeRange {
  const fromMs = parseMoment(from, nowMs, false);
  const toMs = parseMoment(to, nowMs, true);
  if (fromMs === null || toMs === null || fromMs >= toMs) return { fromMs: nowMs - 3_600_000, toMs: nowMs };
  return { fromMs, toMs };
}

/** The time between two scrapes that queries are made for, as in Grafana's data source by default. */
const SCRAPE_INTERVAL_MS = 15_000;
/** The server's limit on the points of a series. */
const MAX_POINTS = 11_000;

const ROUND = ['1ms', '10ms', '20ms', '50ms', '100ms', '200ms', '500ms', '1s', '2s', '5s', '10s', '15s', '20s', '30s', '1m', '2m', '5m', '10m', '15m', '20m', '30m', '1h', '2h', '3h', '6h', '12h', '1d', '7d', '30d', '365d'].map(
  (text) => parseDuration(text) ?? 0,
);

/** The round interval that is nearest to a span of time, where the middle between two belongs to the larger one. */
export function roundInterval(ms: number): number {
  const next = ROUND.findIndex((interval, i) => ms < (interval + (ROUND[i + 1] ?? Infinity)) / 2);
  return ROUND[next] ?? SCRAPE_INTERVAL_MS;
}

/** Reads an interval such as `>1m`, `30s` or `90`, which is in seconds. */
export function parseInterval(text: string): number | null {
  const written = text.trim().replace(/^>=?/, '');
  return /^\d+(\.\d+)?$/.test(written) ? Number(written) * 1000 : parseDuration(written);
}

export interface Intervals {
  /** The step of range queries and the value of `$__interval`, milliseconds. */
  stepMs: number;
  /** The value of `$__rate_interval`: long enough for a rate at every step. */
  rateMs: number;
}

/** The intervals of a query whose picture has room for `points`. `shortest` is the shortest step that the panel allows. */
export function intervalsOf({ fromMs, toMs }: TimeRange, points: number, shortest: string, factor = 1): Intervals {
  const scrapeMs = parseInterval(shortest) ?? SCRAPE_INTERVAL_MS;
  const least = Math.max(scrapeMs, roundUp((toMs - fromMs) / MAX_POINTS));
  const stepMs = Math.max(least, roundInterval((toMs - fromMs) / Math.max(1, points)), 1) * Math.max(1, factor);
  return { stepMs, rateMs: Math.max(stepMs + scrapeMs, 4 * scrapeMs) };
}

const roundUp = (ms: number): number => Math.ceil(ms / 1000) * 1000;

/** Variables that a range and its intervals define, by name. */
export function timeVariables(range: TimeRange, { stepMs, rateMs }: Intervals): Record<string, string> {
  const rangeMs = range.toMs - range.fromMs;
  const rangeSeconds = Math.max(1, Math.round(rangeMs / 1000));
  return {
    __interval: formatDuration(stepMs),
    __interval_ms: String(stepMs),
    __rate_interval: formatDuration(rateMs),
    __rate_interval_ms: String(rateMs),
    __range: `${rangeSeconds}s`,
    __range_s: String(rangeSeconds),
    __range_ms: String(rangeMs),
    __from: String(Math.round(range.fromMs)),
    __to: String(Math.round(range.toMs)),
    __auto: formatDuration(stepMs),
    interval: formatDuration(stepMs),
  };
}
