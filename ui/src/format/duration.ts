/** Durations as Prometheus writes them: `1h30m`, in milliseconds here. */

const UNITS: [name: string, ms: number][] = [
  ['y', 365 * 86_400_000],
  ['w', 7 * 86_400_000],
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
];

/** Reads a duration above zero. Returns null for anything else. */
export function parseDuration(text: string): number | null {
  const match = /^(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/.exec(text.trim());
  if (!match) return null;
  const total = UNITS.reduce((sum, [, ms], i) => sum + Number(match[i + 1] ?? 0) * ms, 0);
  return total > 0 && Number.isSafeInteger(total) ? total : null;
}

/** Writes a duration so that `parseDuration` reads the same. */
export function formatDuration(ms: number): string {
  let rest = Math.round(ms);
  if (rest <= 0) return '0s';
  let out = '';
  for (const [name, size] of UNITS) {
    // Years and weeks only where nothing is left over, as Prometheus does: 10d stays 10d.
    if ((name === 'y' || name === 'w') && rest % size !== 0) continue;
    const count = Math.floor(rest / size);
    if (count > 0) out += `${count}${name}`;
    rest -= count * size;
  }
  return out;
}

/** Writes a duration in seconds for people, with three digits: `1.23s`, `45ms`. */
export function formatSeconds(seconds: number): string {
  if (!Number.isFinite(seconds)) return String(seconds);
  if (seconds === 0) return '0s';
  const magnitude = Math.abs(seconds);
  if (magnitude < 1e-3) return `${trimmed(seconds * 1e6)}µs`;
  if (magnitude < 1) return `${trimmed(seconds * 1e3)}ms`;
  if (magnitude < 120) return `${trimmed(seconds)}s`;
  const whole = Math.round(magnitude);
  const units: [string, number][] = [['d', 86_400], ['h', 3600], ['m', 60], ['s', 1]];
  const first = units.findIndex(([, size]) => whole >= size);
  // Two units are as exact as anybody wants it.
  let rest = whole;
  let out = seconds < 0 ? '-' : '';
  for (const [name, size] of units.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    if (count > 0) out += `${count}${name}`;
    rest -= count * size;
  }
  return out;
}

const trimmed = (value: number): string => String(Number(value.toPrecision(3)));
