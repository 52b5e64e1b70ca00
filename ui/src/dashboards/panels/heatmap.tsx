/** How many observations fell into which interval over time. */
import { useMemo } from 'preact/hooks';
import { Chart } from '../../chart/chart';
import { heatOf } from '../../chart/heat';
import type { ValueAxis } from '../../chart/look';
import { parseValue } from '../../format/number';
import type { Graph, HeatColumn } from '../../query/result';
import { nameOf } from '../data/frame';
import { inUnit, shownText } from '../data/units';
import { object, text } from '../read/json';
import { NoData } from './no-data';
import { seriesOf } from './time-series';
import type { PictureProps } from './types';

const MAX_INTERVALS = 20;

/** Intervals of equal width for values that are not counted yet. */
function counted(graph: Graph): Graph {
  const all = graph.lines.flatMap(({ values }) => Array.from(values)).filter(Number.isFinite);
  const [low, high] = [all.reduce((a, b) => Math.min(a, b), Infinity), all.reduce((a, b) => Math.max(a, b), -Infinity)];
  const width = (high - low || 1) / MAX_INTERVALS;
  const heat: HeatColumn[] = Array.from(graph.times, (_, index) => {
    const counts = new Map<number, number>();
    for (const { values } of graph.lines) {
      const value = values[index] ?? NaN;
      if (!Number.isFinite(value)) continue;
      const interval = Math.min(MAX_INTERVALS - 1, Math.floor((value - low) / width));
      counts.set(interval, (counts.get(interval) ?? 0) + 1);
    }
    return { index, cells: [...counts].map(([interval, count]) => ({ low: low + interval * width, high: low + (interval + 1) * width, count })) };
  });
  return { ...graph, heat };
}

/** Series that are the counts of one interval each, named by its upper bound. */
function named(graph: Graph, names: string[]): Graph {
  const bounds = names.map(parseValue);
  const order = [...names.keys()].sort((a, b) => (bounds[a] ?? 0) - (bounds[b] ?? 0));
  const heat: HeatColumn[] = Array.from(graph.times, (_, index) => ({
    index,
    cells: order.flatMap((number, rank) => {
      const count = graph.lines[number]?.values[index] ?? NaN;
      const high = bounds[number] ?? NaN;
      const low = rank > 0 ? (bounds[order[rank - 1] ?? 0] ?? 0) : Math.min(0, high);
      return count > 0 && low < high ? [{ low, high, count }] : [];
    }),
  }));
  return { ...graph, heat };
}

export function Heatmap({ panel, data, height, onZoom }: PictureProps) {
  const graph = useMemo((): Graph | null => {
    if (data.graph && data.graph.heat.length > 0) return data.graph;
    const { times, series } = seriesOf(data.frames);
    const own: Graph = { type: 'graph', times, lines: series.map(({ line }) => line), heat: [] };
    if (series.length === 0) return null;
    const isCumulative = panel.queries.some(({ format }) => format === 'heatmap');
    if (panel.options.calculate === true) return counted(own);
    const names = series.map(({ field }) => nameOf(field));
    if (isCumulative && heatOf(own)) return own;
    return names.every((name) => !Number.isNaN(parseValue(name))) ? named(own, names) : heatOf(own) ? own : counted(own);
  }, [data]);
  const unit = text(object(panel.options.yAxis).unit) || panel.field.unit;
  const axes = useMemo((): ValueAxis[] => [{ min: null, max: null, isLog: false, label: '', format: (value) => shownText(inUnit(value, unit, null)) }], [unit]);
  if (!graph) return <NoData panel={panel} />;
  return <Chart graph={graph} mode="heatmap" shown={[]} focused={-1} exemplars={[]} axes={axes} height={height} syncKey="dashboard" onZoom={onZoom} />;
}
