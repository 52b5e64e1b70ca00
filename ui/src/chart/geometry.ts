/** Where values are on the canvas, and scales that fit them. Pure. */
import type { Line } from '../query/result';

/** A plotting area in device pixels, and the values at its bottom and top. */
export interface Area {
  width: number;
  height: number;
  low: number;
  high: number;
  /** The position of each step. */
  xs: Float32Array;
}

export const yOf = (area: Area, value: number): number => area.height * (1 - (value - area.low) / (area.high - area.low));

/** The running sums of stacked lines: calls `each` with the number of a line, and its bottom and top at every step. */
export function stack(lines: Line[], shown: number[], steps: number, each: (line: number, bottom: Float64Array, top: Float64Array) => void) {
  let bottom = new Float64Array(steps);
  for (const number of shown) {
    const top = bottom.slice();
    lines[number]?.values.forEach((value, i) => {
      if (Number.isFinite(value)) top[i] = (top[i] ?? 0) + value;
    });
    each(number, bottom, top);
    bottom = top;
  }
}

/** The lowest and highest finite value, or null if there is none. */
export function extent(lines: Line[], shown: number[], isStacked: boolean, steps: number): [number, number] | null {
  let low = Infinity;
  let high = -Infinity;
  const see = (values: Float64Array) => {
    for (const value of values) {
      if (!Number.isFinite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  };
  if (isStacked) {
    low = 0;
    stack(lines, shown, steps, (_, __, top) => see(top));
  } else {
    for (const number of shown) see(lines[number]?.values ?? new Float64Array());
  }
  return low <= high ? [low, high] : null;
}

/** Extends an extent a little, and to zero where zero is near. */
export function padded([low, high]: [number, number], yMin: number | null): [number, number] {
  const span = high - low || Math.abs(high) || 1;
  let bottom = low - span * 0.05;
  let top = high + span * 0.05;
  if (low >= 0 && (low < span * 0.5 || low === high)) bottom = 0;
  if (high <= 0 && (-high < span * 0.5 || low === high)) top = 0;
  if (yMin !== null) bottom = yMin;
  return top > bottom ? [bottom, top] : [bottom, bottom + 1];
}

/** The step whose position is nearest to `x`. */
export function nearestStep(xs: Float32Array, x: number): number {
  let low = 0;
  let high = xs.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((xs[middle] ?? 0) < x) low = middle;
    else high = middle;
  }
  return Math.abs((xs[low] ?? 0) - x) <= Math.abs((xs[high] ?? 0) - x) ? low : high;
}

/** The line that is nearest to a height at a step, and its value on the scale (for stacked lines: the top of its area). */
export function nearestLine(lines: Line[], shown: number[], isStacked: boolean, step: number, value: number): { line: number; at: number } | null {
  let best: { line: number; at: number } | null = null;
  let distance = Infinity;
  let sum = 0;
  for (const number of shown) {
    const own = lines[number]?.values[step] ?? NaN;
    if (!Number.isFinite(own)) continue;
    if (isStacked) sum += own;
    const at = isStacked ? sum : own;
    if (isStacked && value <= at && own > 0) return { line: number, at };
    if (Math.abs(at - value) < distance) {
      distance = Math.abs(at - value);
      best = { line: number, at };
    }
  }
  return best;
}
