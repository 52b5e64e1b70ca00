/** Heatmaps: how many observations fell into which interval at each step. */
import { parseValue } from '../format/number';
import type { Graph, HeatColumn, Line } from '../query/result';

export interface Heat {
  /** All bounds of intervals, ascending. Rows lie between neighbours. */
  bounds: number[];
  columns: HeatColumn[];
  /** The largest count. */
  most: number;
}

/** The heatmap of a graph: of its native histograms, or of lines with a label `le`. Null if it has neither. */
export function heatOf(graph: Graph): Heat | null {
  const columns = graph.heat.length > 0 ? graph.heat : classic(graph.lines, graph.times.length);
  const bounds = new Set<number>();
  let most = 0;
  for (const { cells } of columns) {
    for (const { low, high, count } of cells) {
      bounds.add(low).add(high);
      if (count > most) most = count;
    }
  }
  return bounds.size > 1 ? { bounds: [...bounds].sort((a, b) => a - b), columns, most } : null;
}

/** The counts of each bucket, from the counts of everything up to its bound. Series with the same bound are added. */
function classic(lines: Line[], steps: number): HeatColumn[] {
  const byBound = new Map<number, Float64Array>();
  for (const { labels, values } of lines) {
    const bound = parseValue(labels.le ?? '');
    if (labels.le === undefined || Number.isNaN(bound)) continue;
    const sums = byBound.get(bound) ?? new Float64Array(steps).fill(NaN);
    values.forEach((value, i) => {
      if (Number.isFinite(value)) sums[i] = (Number.isNaN(sums[i] ?? NaN) ? 0 : (sums[i] ?? 0)) + value;
    });
    byBound.set(bound, sums);
  }
  const bounds = [...byBound.keys()].sort((a, b) => a - b);
  if (bounds.length < 2) return [];
  const columns: HeatColumn[] = [];
  for (let index = 0; index < steps; index++) {
    const cells = [];
    let below = 0;
    let low = (bounds[0] ?? 0) > 0 ? 0 : -Infinity;
    for (const high of bounds) {
      const total = byBound.get(high)?.[index] ?? NaN;
      if (Number.isFinite(total)) {
        if (total > below) cells.push({ low, high, count: total - below });
        below = Math.max(below, total);
      }
      low = high;
    }
    if (cells.length > 0) columns.push({ index, cells });
  }
  return columns;
}

/** Draws all cells. `color` is the colour of the largest count. */
export function paintHeat(canvas: HTMLCanvasElement, heat: Heat, xs: Float32Array, color: string) {
  const context = canvas.getContext('2d');
  if (!context) return;
  context.clearRect(0, 0, canvas.width, canvas.height);
  const rows = heat.bounds.length - 1;
  const rowOf = new Map(heat.bounds.map((bound, i) => [bound, i]));
  const width = xs.length > 1 ? (xs[1] ?? 0) - (xs[0] ?? 0) : canvas.width;
  const yOf = (row: number) => canvas.height * (1 - row / rows);
  context.fillStyle = color;
  for (const { index, cells } of heat.columns) {
    const left = Math.round((xs[index] ?? 0) - width / 2);
    const right = Math.round((xs[index] ?? 0) + width / 2);
    for (const { low, high, count } of cells) {
      if (count <= 0) continue;
      const top = Math.round(yOf(rowOf.get(high) ?? 0));
      const bottom = Math.round(yOf(rowOf.get(low) ?? 0));
      // The root shows small counts beside large ones.
      context.globalAlpha = 0.12 + 0.88 * Math.sqrt(count / heat.most);
      context.fillRect(left, top, Math.max(1, right - left), Math.max(1, bottom - top));
    }
  }
  context.globalAlpha = 1;
}
