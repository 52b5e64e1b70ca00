/** Where values are on the canvas, and scales that fit them. Pure. */
import type { Line } from '../query/result';
import type { Look, ValueAxis } from './look';

/** The values at the bottom and at the top. */
export interface Scale {
  low: number;
  high: number;
  isLog: boolean;
}

/** A plotting area in device pixels. */
export interface Area {
  width: number;
  height: number;
  /** Of the left and the right axis. */
  scales: [Scale, Scale];
  /** The position of each step. */
  xs: Float32Array;
}

export function yOf(area: Area, value: number, axis: 0 | 1 = 0): number {
  const { low, high, isLog } = area.scales[axis];
  if (!isLog) return area.height * (1 - (value - low) / (high - low));
  // What a logarithm does not have is at the bottom.
  const share = value <= low ? 0 : Math.log(value / low) / Math.log(high / low);
  return area.height * (1 - share);
}

/** The value at a height. */
export function valueAt(area: Area, y: number, axis: 0 | 1 = 0): number {
  const { low, high, isLog } = area.scales[axis];
  const share = 1 - y / area.height;
  return isLog ? low * (high / low) ** share : low + share * (high - low);
}

type LookOf = (line: number) => Look;

/**
 * The running sums of stacked lines, those below zero apart: calls `each` with the number of a line, and where it begins and
 * ends at every step.
 */
export function stack(lines: Line[], shown: number[], steps: number, each: (line: number, from: Float64Array, to: Float64Array) => void) {
  const above = new Float64Array(steps);
  const below = new Float64Array(steps);
  for (const number of shown) {
    const from = new Float64Array(steps);
    const to = new Float64Array(steps);
    const values = lines[number]?.values ?? new Float64Array();
    // A line with a value below zero hangs from the sum of those below zero, also where it has none.
    const isBelow = values.some((value) => value < 0);
    const own = isBelow ? below : above;
    for (let i = 0; i < steps; i++) {
      const value = values[i] ?? NaN;
      const sums = value < 0 ? below : value > 0 ? above : own;
      from[i] = sums[i] ?? 0;
      if (Number.isFinite(value)) sums[i] = (sums[i] ?? 0) + value;
      to[i] = sums[i] ?? 0;
    }
    each(number, from, to);
  }
}

/** The lines of each stack of each axis. */
export function stacksOf(shown: number[], lookOf: LookOf): number[][] {
  const stacks = new Map<string, number[]>();
  for (const number of shown) {
    const { axis, stack } = lookOf(number);
    if (stack === null) continue;
    const key = `${axis} ${stack}`;
    const known = stacks.get(key);
    if (known) known.push(number);
    else stacks.set(key, [number]);
  }
  return [...stacks.values()];
}

/** The lowest and highest finite value of the lines of an axis, or null if there is none. */
export function extent(lines: Line[], shown: number[], lookOf: LookOf, axis: 0 | 1, steps: number): [number, number] | null {
  let low = Infinity;
  let high = -Infinity;
  const see = (values: Float64Array) => {
    for (const value of values) {
      if (!Number.isFinite(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  };
  const own = shown.filter((number) => lookOf(number).axis === axis);
  for (const stacked of stacksOf(own, lookOf)) {
    low = Math.min(low, 0);
    high = Math.max(high, 0);
    stack(lines, stacked, steps, (_, __, to) => see(to));
  }
  for (const number of own) if (lookOf(number).stack === null) see(lines[number]?.values ?? new Float64Array());
  return low <= high ? [low, high] : null;
}

/** Extends an extent a little, and to zero where zero is near. Bounds of the axis come first. */
export function padded([low, high]: [number, number], { min, max }: Pick<ValueAxis, 'min' | 'max'>): [number, number] {
  const span = high - low || Math.abs(high) || 1;
  let bottom = low - span * 0.05;
  let top = high + span * 0.05;
  if (low >= 0 && (low < span * 0.5 || low === high)) bottom = 0;
  if (high <= 0 && (-high < span * 0.5 || low === high)) top = 0;
  if (min !== null) bottom = min;
  if (max !== null) top = max;
  return top > bottom ? [bottom, top] : [bottom, bottom + 1];
}

/** The scale of an axis for an extent. A logarithmic one has whole powers of ten at its ends. */
export function scaleOf(found: [number, number] | null, axis: ValueAxis, lines: () => Iterable<number>): Scale {
  if (!axis.isLog) {
    const [low, high] = padded(found ?? [0, 1], axis);
    return { low, high, isLog: false };
  }
  let least = axis.min !== null && axis.min > 0 ? axis.min : Infinity;
  if (least === Infinity) for (const value of lines()) if (value > 0 && value < least) least = value;
  if (least === Infinity) least = 1;
  const low = 10 ** Math.floor(Math.log10(least));
  const high = 10 ** Math.ceil(Math.log10(Math.max(axis.max ?? found?.[1] ?? 1, least)));
  return { low, high: high > low ? high : low * 10, isLog: true };
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

/** The line that is nearest to a height at a step. A pointer within a stacked area is at its line. */
export function nearestLine(lines: Line[], shown: number[], lookOf: LookOf, area: Area, step: number, y: number): number | null {
  let best: number | null = null;
  let distance = Infinity;
  const above = new Map<string, number>();
  const below = new Map<string, number>();
  for (const number of shown) {
    const own = lines[number]?.values[step] ?? NaN;
    if (!Number.isFinite(own)) continue;
    const { axis, stack } = lookOf(number);
    let at = own;
    if (stack !== null) {
      const sums = own < 0 ? below : above;
      const key = `${axis} ${stack}`;
      const from = sums.get(key) ?? 0;
      at = from + own;
      sums.set(key, at);
      const value = valueAt(area, y, axis);
      if (own > 0 ? value >= from && value <= at : own < 0 && value <= from && value >= at) return number;
    }
    const away = Math.abs(yOf(area, at, axis) - y);
    if (away < distance) {
      distance = away;
      best = number;
    }
  }
  return best;
}
