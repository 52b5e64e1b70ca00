/** Results of queries in a form that is cheap to draw and to hand over from the worker. */
import type { LabelMap } from '../format/series';

/** A bucket of a native histogram: rule of the boundaries, lower and upper bound, count. */
export type Bucket = [rule: number, low: string, high: string, count: string];

export interface Histogram {
  count: string;
  sum: string;
  buckets?: Bucket[];
}

/** A series of a range query on the grid of its steps. NaN where it has no float. */
export interface Line {
  labels: LabelMap;
  values: Float64Array;
}

/** Native histograms at one step, merged over all series: the count of each interval. */
export interface HeatColumn {
  index: number;
  cells: { low: number; high: number; count: number }[];
}

export interface Graph {
  type: 'graph';
  /** Times of the steps, seconds since the epoch. */
  times: Float64Array;
  lines: Line[];
  /** Columns of native histograms; empty if the result has none. */
  heat: HeatColumn[];
}

/** A row of a table. */
export interface Row {
  labels: LabelMap;
  /** Samples, times in seconds. Instant vectors have one. */
  samples: [time: number, value: string | Histogram][];
}

export interface Table {
  type: 'table';
  kind: 'vector' | 'matrix' | 'scalar' | 'string';
  rows: Row[];
}

export interface Stats {
  timings?: Record<string, number>;
  samples?: { totalQueryableSamples?: number; samplesRead?: number; peakSamples?: number };
}

export interface Cost {
  /** From the request until the answer was read, milliseconds. */
  tookMs: number;
  /** Size of the answer without compression, bytes. */
  bytes: number;
  stats: Stats | null;
}

export interface QueryResult {
  result: Graph | Table;
  warnings: string[];
  infos: string[];
  cost: Cost;
}

/** What the worker is asked: a request, and the grid on which a graph's values are laid out, seconds. */
export interface Job {
  url: string;
  body: string;
  headers: Record<string, string>;
  grid: { start: number; step: number; count: number } | null;
}

export type Reply = { ok: true; result: QueryResult } | { ok: false; kind: string; message: string };
