/** Fetches and reads the answer of one query at a time, so that a large one does not freeze the page. */
import { parseValue } from '../format/number';
import type { LabelMap } from '../format/series';
import { failureOf, open } from '../api/envelope';
import type { Graph, HeatColumn, Histogram, Job, Line, QueryResult, Reply, Stats, Table } from './result';

type Sample = [number, string];
type HistogramSample = [number, Histogram];

interface ApiSeries {
  metric: LabelMap;
  value?: Sample;
  values?: Sample[];
  histogram?: HistogramSample;
  histograms?: HistogramSample[];
}

interface ApiData {
  resultType: Table['kind'];
  result: ApiSeries[] | Sample;
  stats?: Stats;
}

self.onmessage = async (event: MessageEvent<Job>) => {
  const began = performance.now();
  let reply: Reply;
  try {
    const { url, headers, body, grid } = event.data;
    const response = await fetch(url, { method: 'POST', headers: { ...headers, 'Content-Type': 'application/x-www-form-urlencoded' }, body });
    const text = await response.text();
    const { data, warnings, infos } = open<ApiData>(response.status, text);
    const result = grid ? graphOf(data, grid) : tableOf(data);
    const cost = { tookMs: performance.now() - began, bytes: text.length, stats: data.stats ?? null };
    reply = { ok: true, result: { result, warnings, infos, cost } };
  } catch (error) {
    const failure = failureOf(error);
    reply = { ok: false, kind: failure.kind, message: failure.message };
  }
  self.postMessage(reply, { transfer: reply.ok ? buffers(reply.result) : [] });
};

function buffers({ result }: QueryResult): ArrayBuffer[] {
  if (result.type !== 'graph') return [];
  return [result.times, ...result.lines.map((line) => line.values)].map((values) => values.buffer as ArrayBuffer);
}

const seriesOf = (data: ApiData): ApiSeries[] =>
  data.resultType === 'vector' || data.resultType === 'matrix' ? (data.result as ApiSeries[]) : [{ metric: {}, value: data.result as Sample }];

function tableOf(data: ApiData): Table {
  const rows = seriesOf(data).map(({ metric, value, values, histogram, histograms }) => {
    const samples = [...(values ?? []), ...(histograms ?? []), ...(value ? [value] : []), ...(histogram ? [histogram] : [])];
    return { labels: metric, samples: samples.sort((a, b) => a[0] - b[0]) };
  });
  return { type: 'table', kind: data.resultType, rows };
}

function graphOf(data: ApiData, { start, step, count }: NonNullable<Job['grid']>): Graph {
  const times = Float64Array.from({ length: count }, (_, i) => start + i * step);
  const indexOf = (time: number) => Math.round((time - start) / step);
  const lines: Line[] = [];
  const columns = new Map<number, Map<string, { low: number; high: number; count: number }>>();
  for (const { metric, values, histograms } of seriesOf(data)) {
    for (const [time, histogram] of histograms ?? []) merge(columns, indexOf(time), histogram);
    if (!values) continue;
    const line = new Float64Array(count).fill(NaN);
    for (const [time, value] of values) line[indexOf(time)] = parseValue(value);
    lines.push({ labels: metric, values: line });
  }
  const heat: HeatColumn[] = [...columns].map(([index, cells]) => ({ index, cells: [...cells.values()] }));
  return { type: 'graph', times, lines, heat: heat.sort((a, b) => a.index - b.index) };
}

function merge(columns: Map<number, Map<string, { low: number; high: number; count: number }>>, index: number, histogram: Histogram) {
  let cells = columns.get(index);
  if (!cells) columns.set(index, (cells = new Map()));
  for (const [, low, high, count] of histogram.buckets ?? []) {
    const key = `${low} ${high}`;
    const cell = cells.get(key);
    if (cell) cell.count += parseValue(count);
    else cells.set(key, { low: parseValue(low), high: parseValue(high), count: parseValue(count) });
  }
}
