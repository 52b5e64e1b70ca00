/** Numbers for people. */

const grouped = new Intl.NumberFormat('en-US', { maximumFractionDigits: 0 });

/** A whole number with thousands separators. */
export const formatCount = (value: number): string => grouped.format(value);

/** A count with its noun: `1 series`, `2 targets`. */
export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}

const PREFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E', 'Z', 'Y'];

/** A number in few characters, for axes and legends: `1.2M`, `0.004`. */
export function formatShort(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return formatSpecial(value);
  const magnitude = Math.abs(value);
  if (magnitude >= 1e27 || (magnitude !== 0 && magnitude < 1e-4)) return value.toExponential(2).replace('e+', 'e');
  if (magnitude < 10_000) return String(Number(value.toPrecision(digits)));
  const power = Math.min(Math.floor(Math.log10(magnitude) / 3), PREFIXES.length - 1);
  return `${Number((value / 1000 ** power).toPrecision(digits))}${PREFIXES[power]}`;
}

/** A size in bytes. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  if (bytes < 1024) return `${bytes} B`;
  const power = Math.min(Math.floor(Math.log2(bytes) / 10), units.length - 1);
  return `${Number((bytes / 1024 ** power).toPrecision(3))} ${units[power]}`;
}

/** Reads a value of the API: `NaN`, `+Inf`, `-Inf` or a number. */
export function parseValue(text: string): number {
  if (text === '+Inf') return Infinity;
  if (text === '-Inf') return -Infinity;
  return Number(text);
}

function formatSpecial(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  return value > 0 ? '+Inf' : '-Inf';
}
