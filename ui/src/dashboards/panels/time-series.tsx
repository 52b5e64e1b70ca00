/** Lines, areas, bars and points over time. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Chart } from '../../chart/chart';
import { dark } from '../../chart/colors';
import type { Limit, Look, ValueAxis } from '../../chart/look';
import type { Graph, Line } from '../../query/result';
import { paletteColor, safeColor } from '../data/colors';
import { colorAt } from '../data/display';
import { type Field, type Frame, isSeries, nameOf } from '../data/frame';
import { inUnit, shownText } from '../data/units';
import { reduce } from '../data/reduce';
import type { FieldConfig } from '../model';
import { number, object, text } from '../read/json';
import { Legend, legendOptions } from './legend';
import { NoData } from './no-data';
import type { PictureProps } from './types';

/** A line with the field that it comes from. */
interface Series {
  field: Field;
  line: Line;
}

const isHiddenFrom = (field: Field, where: string): boolean => object(field.config.custom.hideFrom)[where] === true;

/** All series on one grid of times. Those of several queries may have different steps. */
export function seriesOf(frames: Frame[]): { times: Float64Array; series: Series[] } {
  const usable = frames.filter(isSeries);
  const grids = usable.map(({ fields }) => fields[0]?.values ?? []);
  const same = grids.every((grid) => grid === grids[0] || (grid.length === grids[0]?.length && grid[0] === grids[0]?.[0] && grid[grid.length - 1] === grids[0]?.[grid.length - 1]));
  const all = same ? Array.from(grids[0] ?? [], Number) : [...new Set(grids.flatMap((grid) => Array.from(grid, Number)))].sort((a, b) => a - b);
  const at = same ? null : new Map(all.map((time, i) => [time, i]));
  const series = usable.flatMap(({ fields: [time, ...fields] }) =>
    fields.filter(({ kind }) => kind === 'number').map((field) => {
      const values = new Float64Array(all.length).fill(NaN);
      for (let row = 0; row < field.values.length; row++) values[at ? (at.get(Number(time?.values[row])) ?? 0) : row] = Number(field.values[row] ?? NaN);
      return { field, line: { labels: field.labels, values } };
    }),
  );
  return { times: Float64Array.from(all, (ms) => ms / 1000), series };
}

function lookOf({ config }: Field, index: number, name: string, last: number): Look {
  const custom = config.custom;
  const draw = text(custom.drawStyle);
  const { mode, group } = object(custom.stacking);
  const isStacked = mode === 'normal' || mode === 'percent' || mode === '100%';
  const color = config.colorMode === 'palette-classic' || config.colorMode === 'palette-classic-by-name' || config.colorMode === '' ? paletteColor(index) : colorAt(config, last, index);
  return {
    name,
    color: color || paletteColor(index),
    width: number(custom.lineWidth) ?? 1,
    fill: (number(custom.fillOpacity) ?? 0) / 100,
    // Numbers and names of groups are both written.
    stack: isStacked ? String(group ?? '') : null,
    draw: draw === 'bars' || draw === 'points' ? draw : 'line',
    isStep: text(custom.lineInterpolation).startsWith('step'),
    isDashed: ['dash', 'dot'].includes(text(object(custom.lineStyle).fill)),
    spansGaps: custom.spanNulls === true || typeof custom.spanNulls === 'number',
    axis: custom.axisPlacement === 'right' ? 1 : 0,
  };
}

/** Units whose prefixes are powers of 1024. */
const BINARY_UNITS = new Set(['bytes', 'kbytes', 'mbytes', 'gbytes', 'bits', 'binBps', 'binbps', 'KiBs', 'MiBs']);

function axisOf(config: FieldConfig | undefined): ValueAxis {
  if (!config) return { min: null, max: null, isLog: false, format: String, label: '' };
  const custom = config.custom;
  const soft = (value: unknown) => number(value);
  const isPercent = text(object(custom.stacking).mode) === 'percent';
  const unit = isPercent ? 'percentunit' : config.unit;
  return {
    min: config.min ?? soft(custom.axisSoftMin),
    max: config.max ?? (isPercent ? 1 : null),
    isLog: text(object(custom.scaleDistribution).type) === 'log',
    format: (value) => (Number.isFinite(value) ? shownText(inUnit(value, unit, config.decimals)) : '–'),
    isBinary: BINARY_UNITS.has(unit),
    label: text(custom.axisLabel),
  };
}

/** Values as shares of the sum at each step. */
function asShares(lines: Line[]): Line[] {
  const steps = lines[0]?.values.length ?? 0;
  const sums = new Float64Array(steps);
  for (const { values } of lines) values.forEach((value, i) => { if (Number.isFinite(value)) sums[i] = (sums[i] ?? 0) + Math.abs(value); });
  return lines.map(({ labels, values }) => ({ labels, values: values.map((value, i) => (sums[i] ? value / (sums[i] ?? 1) : value)) }));
}

function limitsOf({ thresholds, custom }: FieldConfig): Limit[] {
  const mode = text(object(custom.thresholdsStyle).mode, 'off');
  if (mode === 'off' || mode === '') return [];
  return thresholds.filter(({ value }) => Number.isFinite(value)).map(({ value, color }) => ({ value, color: safeColor(color) || 'currentColor' }));
}

export function TimeSeries({ panel, data, width, height, onZoom }: PictureProps) {
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const [focused, setFocused] = useState(-1);
  const room = useRef<HTMLDivElement>(null);
  const [chartHeight, setChartHeight] = useState(0);
  const { graph, looks, axes, configs } = useMemo(() => {
    const { times, series } = seriesOf(data.frames);
    const visible = series.filter(({ field }) => !isHiddenFrom(field, 'viz'));
    const isPercent = text(object(panel.field.custom.stacking).mode) === 'percent';
    const turned = visible.map(({ field, line }) => (field.config.custom.transform === 'negative-Y' ? { ...line, values: line.values.map((value) => -value) } : line));
    const lines = isPercent ? asShares(turned) : turned;
    const looks = visible.map(({ field, line }, i) => lookOf(field, i, nameOf(field), reduce(line.values, 'lastNotNull')));
    const configs = visible.map(({ field }) => field.config);
    const onAxis = (axis: 0 | 1) => configs.find((_, i) => looks[i]?.axis === axis);
    const graph: Graph = { type: 'graph', times, lines, heat: [] };
    return { graph, looks, axes: [axisOf(onAxis(0) ?? panel.field), axisOf(onAxis(1))], configs };
  }, [data, dark.value]);
  const shown = useMemo(() => [...graph.lines.keys()].filter((line) => !hidden.has(line)), [graph, hidden]);
  const limits = useMemo(() => limitsOf(panel.field), [data]);
  const isEmpty = graph.lines.length === 0;
  // The chart has what the legend leaves.
  useEffect(() => {
    const host = room.current;
    if (!host) return;
    const resized = new ResizeObserver(() => setChartHeight(Math.max(60, host.clientHeight)));
    resized.observe(host);
    return () => resized.disconnect();
  }, [isEmpty]);
  if (isEmpty) return <NoData panel={panel} />;
  const legend = legendOptions(panel);
  const isBeside = legend.isShown && legend.isBeside && width > 500;
  return (
    <div class={`dash-series${isBeside ? ' is-beside' : ''}`}>
      <div class="dash-chart" ref={room}>
        {chartHeight > 0 && <Chart graph={graph} mode="lines" shown={shown} focused={focused} exemplars={[]} axes={axes} looks={looks} limits={limits} height={chartHeight} syncKey="dashboard" onZoom={onZoom} />}
      </div>
      {legend.isShown && (
        <Legend
          options={legend}
          entries={graph.lines.map(({ values }, i) => ({ name: looks[i]?.name ?? '', color: looks[i]?.color ?? '', values, config: configs[i] ?? panel.field }))}
          height={isBeside ? height : Math.round(height * 0.4)}
          hidden={hidden}
          setHidden={setHidden}
          onFocus={setFocused}
        />
      )}
    </div>
  );
}
