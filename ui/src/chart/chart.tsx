/**
 * A chart over time. uPlot draws axes and grid and follows the pointer; lines, areas and cells are drawn by us, because
 * thousands of series must not freeze the page.
 */
import 'uplot/dist/uPlot.min.css';
import './chart.css';
import { useEffect, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { formatShort } from '../format/number';
import type { LabelMap } from '../format/series';
import type { Graph } from '../query/result';
import { zone } from '../settings';
import { timeLabels } from './axis';
import { cssColor, dark } from './colors';
import { type Area, type Scale, extent, nearestLine, nearestStep, scaleOf, yOf } from './geometry';
import { type Heat, heatOf, paintHeat } from './heat';
import { type Limit, type Look, type ValueAxis, plainLook } from './look';
import { paint, stroke } from './paint';
import { type Pointed, Tooltip } from './tooltip';

export interface Exemplar {
  labels: LabelMap;
  series: LabelMap;
  /** Seconds since the epoch. */
  time: number;
  value: number;
}

export interface ChartProps {
  graph: Graph;
  mode: 'lines' | 'stacked' | 'heatmap';
  /** Numbers of the lines that are shown. */
  shown: number[];
  /** The line that stands out, or -1. */
  focused: number;
  exemplars: Exemplar[];
  /** The left axis, and the right one if lines use it. Without any, the left one fits all values. */
  axes?: ValueAxis[];
  /** How the lines look, by number. By default they have the colours of their order. */
  looks?: Look[];
  /** Lines across the chart. */
  limits?: Limit[];
  height: number;
  /** Charts with the same key show the pointer at the same time. */
  syncKey?: string;
  /** Called with the range that was selected by dragging, milliseconds. */
  onZoom: (startMs: number, endMs: number) => void;
}

/** How near the pointer must be to an exemplar, CSS pixels. */
const EXEMPLAR_REACH = 9;
/** Distances of marks for bytes. */
const POWERS_OF_TWO = Array.from({ length: 70 }, (_, power) => 2 ** power);

export function Chart(props: ChartProps) {
  const { graph, mode, shown, exemplars, axes, looks, height } = props;
  const host = useRef<HTMLDivElement>(null);
  const view = useRef<View | null>(null);
  const [pointed, setPointed] = useState<Pointed | null>(null);
  const latest = useRef(props);
  latest.current = props;

  useEffect(() => {
    if (!host.current) return;
    const created = new View(host.current, latest, setPointed);
    view.current = created;
    return () => {
      created.destroy();
      setPointed(null);
    };
  }, [graph, mode, shown, exemplars, axes, looks, height, dark.value, zone.value]);

  useEffect(() => view.current?.drawFocus(), [props.focused]);

  return (
    <div class="chart" ref={host}>
      {pointed && <Tooltip {...pointed} />}
    </div>
  );
}

/** The canvas layers over a uPlot, and what the pointer is at. */
class View {
  private readonly plot: uPlot;
  private readonly series: HTMLCanvasElement;
  private readonly focus: HTMLCanvasElement;
  private readonly resize: ResizeObserver;
  private readonly heat: Heat | null;
  private readonly accent = cssColor('--accent');
  private readonly looks: Look[];
  private readonly scales: [Scale, Scale];
  private area: Area;
  private stop = () => {};
  private isOver = false;
  private nearest = -1;

  constructor(
    private readonly host: HTMLElement,
    private readonly latest: { current: ChartProps },
    private readonly show: (pointed: Pointed | null) => void,
  ) {
    const { graph, mode } = latest.current;
    this.heat = mode === 'heatmap' ? heatOf(graph) : null;
    this.looks = latest.current.looks ?? graph.lines.map((_, line) => plainLook(line, mode === 'stacked', graph.lines.length));
    this.scales = [this.scale(0), this.scale(1)];
    this.area = { width: 0, height: 0, scales: this.scales, xs: new Float32Array() };
    this.series = document.createElement('canvas');
    this.focus = document.createElement('canvas');
    this.series.className = 'chart-layer';
    this.focus.className = 'chart-layer';
    const nothing = new Array<null>(graph.times.length).fill(null);
    this.plot = new uPlot(this.options(), [graph.times as unknown as number[], nothing, nothing], host);
    this.plot.over.before(this.series, this.focus);
    this.plot.over.addEventListener('mouseenter', this.enter);
    this.plot.over.addEventListener('mouseleave', this.leave);
    this.layOut();
    this.resize = new ResizeObserver(() => {
      if (host.clientWidth !== this.plot.width) this.plot.setSize({ width: host.clientWidth, height: latest.current.height });
    });
    this.resize.observe(host);
  }

  destroy() {
    this.stop();
    this.resize.disconnect();
    this.plot.destroy();
  }

  private enter = () => { this.isOver = true; };
  private leave = () => {
    this.isOver = false;
    this.nearest = -1;
    this.show(null);
    this.drawFocus();
  };

  private look = (line: number): Look => this.looks[line] ?? plainLook(line, false, 1);

  private axis(number: 0 | 1): ValueAxis {
    return this.latest.current.axes?.[number] ?? { min: null, max: null, isLog: false, format: formatShort, label: '' };
  }

  private scale(number: 0 | 1): Scale {
    const { graph, shown } = this.latest.current;
    if (this.heat) return { low: 0, high: this.heat.bounds.length - 1, isLog: false };
    const values = function* () {
      for (const line of shown) yield* graph.lines[line]?.values ?? [];
    };
    return scaleOf(extent(graph.lines, shown, this.look, number, graph.times.length), this.axis(number), values);
  }

  private options(): uPlot.Options {
    const { graph, height, onZoom } = this.latest.current;
    const { times } = graph;
    const hasRight = !this.heat && this.latest.current.shown.some((line) => this.look(line).axis === 1);
    const text = cssColor('--muted');
    const grid = { stroke: cssColor('--grid'), width: 1 };
    const font = '12px system-ui, sans-serif';
    const axis = { stroke: text, grid, ticks: grid, font };
    const first = times[0] ?? 0;
    const last = times[times.length - 1] ?? first;
    return {
      width: Math.max(this.host.clientWidth, 120),
      height,
      legend: { show: false },
      padding: [10, 14, 0, 0],
      scales: {
        x: { range: () => (last > first ? [first, last] : [first - 1, first + 1]) },
        y: this.plotScale(0),
        right: this.plotScale(1),
      },
      axes: [
        { ...axis, size: 44, space: 68, values: (_, splits, __, ___, incr) => timeLabels(splits, incr, zone.value) },
        this.valueAxis(0, axis),
        ...(hasRight ? [this.valueAxis(1, axis)] : []),
      ],
      series: [{}, { paths: () => null, points: { show: false } }, { paths: () => null, points: { show: false }, scale: 'right' }],
      cursor: {
        y: false,
        points: { show: false },
        sync: { key: this.latest.current.syncKey ?? 'query', setSeries: false },
        drag: { x: true, y: false, setScale: false, dist: 5 },
      },
      hooks: {
        setCursor: [() => this.point()],
        setSelect: [(plot) => {
          const { left, width } = plot.select;
          if (width < 5) return;
          const [start, end] = [plot.posToVal(left, 'x'), plot.posToVal(left + width, 'x')];
          plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          onZoom(start * 1000, end * 1000);
        }],
        draw: [() => this.layOut()],
      },
    };
  }

  private plotScale(number: 0 | 1): uPlot.Scale {
    const { low, high, isLog } = this.scales[number];
    return { range: () => [low, high], distr: isLog ? 3 : 1 };
  }

  private valueAxis(number: 0 | 1, common: uPlot.Axis): uPlot.Axis {
    const { label, isBinary } = this.axis(number);
    return {
      ...common,
      scale: number === 0 ? 'y' : 'right',
      side: number === 0 ? 3 : 1,
      grid: number === 0 ? common.grid : { show: false },
      values: (_, splits) => splits.map((split) => this.yLabel(split, number)),
      incrs: this.heat ? [1, 2, 5, 10, 20, 50, 100, 200, 500] : isBinary ? POWERS_OF_TWO : undefined,
      size: (_, values) => 18 + 7.2 * Math.max(3, ...(values ?? []).map((value) => value?.length ?? 0)),
      ...(label ? { label, labelSize: 18, labelFont: common.font } : {}),
    } as uPlot.Axis;
  }

  private yLabel(split: number | null, axis: 0 | 1): string {
    // A logarithmic axis has marks without a label.
    if (split === null) return '';
    const { format } = this.axis(axis);
    if (!this.heat) return format(split);
    const bound = this.heat.bounds[split];
    return bound === undefined ? '' : format(bound);
  }

  /** Places the layers over the plotting area and draws the series again. uPlot calls this whenever it has drawn. */
  private layOut() {
    if (!this.plot) return;
    const { graph, shown, limits = [] } = this.latest.current;
    const ratio = devicePixelRatio || 1;
    const { left, top, width, height } = this.plot.bbox;
    for (const canvas of [this.series, this.focus]) {
      canvas.width = Math.round(width);
      canvas.height = Math.round(height);
      Object.assign(canvas.style, { left: `${left / ratio}px`, top: `${top / ratio}px`, width: `${width / ratio}px`, height: `${height / ratio}px` });
    }
    const xs = Float32Array.from(graph.times, (time) => this.plot.valToPos(time, 'x', true) - left);
    this.area = { width, height, scales: this.scales, xs };
    this.stop();
    if (this.heat) {
      paintHeat(this.series, this.heat, xs, this.accent);
    } else {
      this.series.dataset.drawn = '';
      const picture = { lines: graph.lines, shown, look: this.look, area: this.area, pixelRatio: ratio, limits };
      this.stop = paint(this.series, picture, () => { this.series.dataset.drawn = String(shown.length); });
    }
    this.drawFocus();
  }

  /** Draws what stands out: exemplars, and the line that is focused in the legend or under the pointer. */
  drawFocus() {
    const context = this.focus.getContext('2d');
    if (!context) return;
    const { graph, mode, focused, exemplars } = this.latest.current;
    const ratio = devicePixelRatio || 1;
    context.clearRect(0, 0, this.focus.width, this.focus.height);
    const number = focused >= 0 ? focused : this.nearest;
    const line = graph.lines[number];
    if (line && mode !== 'heatmap' && this.look(number).stack === null && this.look(number).draw === 'line') {
      stroke(context, line.values, this.area, this.look(number), 3 * ratio);
    }
    if (mode === 'heatmap') return;
    context.fillStyle = cssColor('--warn');
    for (const exemplar of exemplars) {
      const [x, y] = this.placeOf(exemplar);
      context.save();
      context.translate(x, y);
      context.rotate(Math.PI / 4);
      context.fillRect(-3 * ratio, -3 * ratio, 6 * ratio, 6 * ratio);
      context.restore();
    }
  }

  /** Where an exemplar is, device pixels. One whose value is beyond the axis is at its edge. */
  private placeOf({ time, value }: Exemplar): [number, number] {
    const x = this.plot.valToPos(time, 'x', true) - this.plot.bbox.left;
    return [x, Math.min(Math.max(yOf(this.area, value), 5), this.area.height - 5)];
  }

  private point() {
    if (!this.isOver) return;
    const { left = -1, top = -1 } = this.plot.cursor;
    if (left < 0) return;
    const ratio = devicePixelRatio || 1;
    const { graph, shown, exemplars } = this.latest.current;
    const step = nearestStep(this.area.xs, left * ratio);
    const time = (graph.times[step] ?? 0) * 1000;
    const over = this.plot.over;
    const at = { x: left + over.offsetLeft, y: top + over.offsetTop, isRight: left > over.clientWidth / 2 };
    if (this.heat) return this.show({ ...at, ...this.cellAt(step, top), time });
    const exemplar = exemplars.find((exemplar) => {
      const [x, y] = this.placeOf(exemplar);
      return Math.hypot(x - left * ratio, y - top * ratio) < EXEMPLAR_REACH * ratio;
    });
    if (exemplar) return this.show({ ...at, title: 'Exemplar', time: exemplar.time * 1000, value: exemplar.value, labels: exemplar.labels });
    const found = nearestLine(graph.lines, shown, this.look, this.area, step, top * ratio) ?? -1;
    if (found !== this.nearest) {
      this.nearest = found;
      this.drawFocus();
    }
    const line = graph.lines[found];
    if (!line) return this.show({ ...at, title: 'No value here', time });
    const { color, name, axis } = this.look(found);
    const value = line.values[step] ?? NaN;
    this.show({ ...at, color, time, value, shown: this.latest.current.axes ? this.axis(axis).format(value) : undefined, ...(name ? { title: name } : { labels: line.labels }) });
  }

  private cellAt(step: number, top: number): { title: string } {
    const heat = this.heat;
    const row = Math.floor(this.plot.posToVal(top, 'y'));
    const low = heat?.bounds[row] ?? NaN;
    const high = heat?.bounds[row + 1] ?? NaN;
    const cell = heat?.columns.find(({ index }) => index === step)?.cells.find((cell) => cell.low <= low && cell.high >= high);
    const { format } = this.axis(0);
    return { title: `${formatShort(cell?.count ?? 0)} between ${format(cell?.low ?? low)} and ${format(cell?.high ?? high)}` };
  }
}
