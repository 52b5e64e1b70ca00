/** Frames from the results of queries. */
import type { Graph, Table } from '../../query/result';
import type { LabelMap } from '../../format/series';
import { parseValue } from '../../format/number';
import type { Query } from '../model';
import { type Frame, frameOf, newField } from './frame';

/** The name of a series from the legend of its query: `{{label}}` is the value of a label. */
export function legendOf(legend: string, labels: LabelMap): string {
  if (!legend || legend === '__auto') return '';
  return legend.replace(/\{\{\s*([^}]+?)\s*\}\}/g, (_, name: string) => labels[name] ?? '');
}

/** The frames of a range query: one for each series. */
export function framesOfGraph(graph: Graph, query: Query): Frame[] {
  const times = Float64Array.from(graph.times, (seconds) => seconds * 1000);
  return graph.lines.map(({ labels, values }) =>
    frameOf(query.refId, [newField('Time', 'time', times), newField(query.refId, 'number', values, { labels, legend: nameFor(query, labels, graph.lines.length) })]),
  );
}

/** A single series without labels is named by its query. */
function nameFor(query: Query, labels: LabelMap, count: number): string {
  const legend = legendOf(query.legend, labels);
  if (legend || count > 1 || Object.keys(labels).length > 0) return legend;
  return query.legend && query.legend !== '__auto' ? query.legend : query.expr;
}

/** The frames of an instant query: one for each series, or one table. */
export function framesOfTable(table: Table, query: Query, isOnly: boolean): Frame[] {
  const rows = table.rows.map(({ labels, samples }) => {
    const [time = 0, value = ''] = samples.at(-1) ?? [];
    return { labels, time: time * 1000, value: typeof value === 'string' ? (table.kind === 'string' ? value : parseValue(value)) : parseValue(value.count) };
  });
  if (query.format !== 'table') {
    return rows.map(({ labels, time, value }) =>
      frameOf(query.refId, [newField('Time', 'time', [time]), newField(query.refId, typeof value === 'number' ? 'number' : 'string', [value], { labels, legend: nameFor(query, labels, rows.length) })]),
    );
  }
  const names = [...new Set(rows.flatMap(({ labels }) => Object.keys(labels)))].sort();
  return [
    frameOf(query.refId, [
      newField('Time', 'time', rows.map(({ time }) => time)),
      ...names.map((name) => newField(name, 'string', rows.map(({ labels }) => labels[name] ?? ''))),
      newField(isOnly ? 'Value' : `Value #${query.refId}`, 'number', rows.map(({ value }) => value)),
    ]),
  ];
}

/** A range query as one table: a row for each sample. */
export function tableOfGraph(graph: Graph, query: Query, isOnly: boolean): Frame[] {
  const names = [...new Set(graph.lines.flatMap(({ labels }) => Object.keys(labels)))].sort();
  const cells: { labels: LabelMap; time: number; value: number }[] = [];
  for (const { labels, values } of graph.lines) {
    values.forEach((value, i) => {
      if (!Number.isNaN(value)) cells.push({ labels, time: (graph.times[i] ?? 0) * 1000, value });
    });
  }
  return [
    frameOf(query.refId, [
      newField('Time', 'time', cells.map(({ time }) => time)),
      ...names.map((name) => newField(name, 'string', cells.map(({ labels }) => labels[name] ?? ''))),
      newField(isOnly ? 'Value' : `Value #${query.refId}`, 'number', cells.map(({ value }) => value)),
    ]),
  ];
}
