/** Times in the zone that the user chose. All times are milliseconds since the epoch. */
import { type Zone, zone } from '../settings';

const pad = (value: number, width = 2): string => String(value).padStart(width, '0');

function fields(ms: number, where: Zone) {
  const date = new Date(ms);
  return where === 'utc'
    ? [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()]
    : [date.getFullYear(), date.getMonth() + 1, date.getDate(), date.getHours(), date.getMinutes(), date.getSeconds()];
}

/** `2026-11-30 20:21:00`, in the zone that the user chose unless another one is given. */
export function formatTime(ms: number, where: Zone = zone.value): string {
  if (!Number.isFinite(new Date(ms).getTime())) return '–';
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = fields(ms, where);
  return `${pad(year, 4)}-${pad(month)}-${pad(day)} ${pad(hour)}:${pad(minute)}:${pad(second)}`;
}

/** Like `formatTime`, with milliseconds if there are any. */
export function formatExact(ms: number): string {
  const rest = Math.round(ms) % 1000;
  return formatTime(ms) + (rest ? `.${pad(Math.abs(rest), 3)}` : '');
}

/** Reads `YYYY-MM-DD[ HH:MM[:SS]]`, with a `T` or a space in the middle. Returns null for anything else. */
export function parseTime(text: string, where: Zone = zone.value): number | null {
  const match = /^(\d{4})-(\d\d?)-(\d\d?)(?:[T ](\d\d?):(\d\d)(?::(\d\d)(?:\.\d+)?)?)?(Z)?$/.exec(text.trim());
  if (!match) return null;
  const [year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0] = match.slice(1, 7).map((part) => Number(part ?? 0));
  const ms =
    where === 'utc' || match[7]
      ? Date.UTC(year, month - 1, day, hour, minute, second)
      : new Date(year, month - 1, day, hour, minute, second).getTime();
  return Number.isFinite(ms) ? ms : null;
}

/** How long ago something was: `12.3s ago`, `3m ago`. */
export function formatAgo(ms: number, now: number): string {
  const seconds = (now - ms) / 1000;
  if (!Number.isFinite(seconds)) return 'never';
  if (seconds < 0.05) return 'now';
  if (seconds < 60) return `${seconds.toFixed(1)}s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m ${Math.floor(seconds % 60)}s ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h ${Math.floor((seconds % 3600) / 60)}m ago`;
  return `${Math.floor(seconds / 86_400)}d ago`;
}

/** Reads an RFC 3339 time of the API. Returns NaN for Go's zero time, which stands for "never". */
export function parseRfc3339(text: string): number {
  return text.startsWith('0001-') ? NaN : Date.parse(text);
}
