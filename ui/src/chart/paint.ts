/** Draws lines, areas, bars and points on a canvas, in slices of a few milliseconds, so that thousands of series do not hold up the page. */
import type { Line } from '../query/result';
import { type Area, stack, stacksOf, yOf } from './geometry';
import type { Limit, Look } from './look';

const SLICE_MS = 10;

export interface Picture {
  lines: Line[];
  shown: number[];
  look: (line: number) => Look;
  area: Area;
  pixelRatio: number;
  limits: Limit[];
}

/** Starts drawing. Returns a function that stops it. `done` is called once everything is drawn. */
export function paint(canvas: HTMLCanvasElement, picture: Picture, done: () => void): () => void {
  const context = canvas.getContext('2d');
  if (!context) return () => {};
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.lineJoin = 'round';
  const work = everything(context, picture);
  let frame = 0;
  const slice = () => {
    const began = performance.now();
    while (performance.now() - began < SLICE_MS) {
      if (work.next().done) return done();
    }
    frame = requestAnimationFrame(slice);
  };
  slice();
  return () => cancelAnimationFrame(frame);
}

function* everything(context: CanvasRenderingContext2D, picture: Picture) {
  const { shown, look } = picture;
  for (const numbers of stacksOf(shown, look)) yield* stacked(context, picture, numbers);
  for (const number of shown) {
    const line = picture.lines[number];
    if (!line || look(number).stack !== null) continue;
    drawLine(context, line.values, picture, look(number));
    yield;
  }
  drawLimits(context, picture);
}

function drawLine(context: CanvasRenderingContext2D, values: Float64Array, picture: Picture, look: Look) {
  const { area, pixelRatio } = picture;
  if (look.draw === 'bars') return drawBars(context, area, null, values, look);
  if (look.draw === 'points') return drawPoints(context, area, values, look, pixelRatio);
  if (look.fill > 0) fillBelow(context, values, area, look);
  stroke(context, values, area, look, look.width * pixelRatio);
}

/** The parts of a line between missing values: calls `each` with the first step and the one after the last. */
function runs(values: Float64Array, spansGaps: boolean, each: (start: number, end: number) => void) {
  let start = -1;
  let last = -1;
  for (let i = 0; i < values.length; i++) {
    const isThere = Number.isFinite(values[i] ?? NaN);
    if (isThere) {
      if (start < 0) start = i;
      last = i;
    } else if (start >= 0 && !spansGaps) {
      each(start, i);
      start = -1;
    }
  }
  if (start >= 0) each(start, last + 1);
}

/** Draws a line with gaps where it has no value. A value between two gaps becomes a dot. */
export function stroke(context: CanvasRenderingContext2D, values: Float64Array, area: Area, look: Look, width: number) {
  context.strokeStyle = look.color;
  context.fillStyle = look.color;
  context.lineWidth = width;
  if (look.isDashed) context.setLineDash([width * 4, width * 3]);
  context.beginPath();
  const dots = new Path2D();
  runs(values, look.spansGaps, (start, end) => {
    if (end - start === 1) {
      const [x, y, radius] = [area.xs[start] ?? 0, yOf(area, values[start] ?? 0, look.axis), width * 1.5];
      dots.moveTo(x + radius, y);
      dots.arc(x, y, radius, 0, 2 * Math.PI);
      return;
    }
    trace(context, values, area, look, start, end);
  });
  context.stroke();
  context.setLineDash([]);
  context.fill(dots);
}

/** Adds a part of a line to the path. */
function trace(path: CanvasRenderingContext2D | Path2D, values: Float64Array, area: Area, look: Look, start: number, end: number) {
  let before = 0;
  for (let i = start; i < end; i++) {
    const value = values[i] ?? NaN;
    if (!Number.isFinite(value)) continue;
    const x = area.xs[i] ?? 0;
    const y = yOf(area, value, look.axis);
    if (i === start) {
      path.moveTo(x, y);
    } else {
      if (look.isStep) path.lineTo(x, before);
      path.lineTo(x, y);
    }
    before = y;
  }
}

const zeroOf = (area: Area, axis: 0 | 1): number => Math.min(Math.max(yOf(area, 0, axis), 0), area.height);

function fillBelow(context: CanvasRenderingContext2D, values: Float64Array, area: Area, look: Look) {
  const zero = zeroOf(area, look.axis);
  const path = new Path2D();
  runs(values, look.spansGaps, (start, end) => {
    trace(path, values, area, look, start, end);
    path.lineTo(area.xs[end - 1] ?? 0, zero);
    path.lineTo(area.xs[start] ?? 0, zero);
    path.closePath();
  });
  context.globalAlpha = look.fill;
  context.fillStyle = look.color;
  context.fill(path);
  context.globalAlpha = 1;
}

function drawBars(context: CanvasRenderingContext2D, area: Area, from: Float64Array | null, to: Float64Array, look: Look) {
  const step = area.xs.length > 1 ? (area.xs[1] ?? 0) - (area.xs[0] ?? 0) : area.width / 10;
  const width = Math.max(1, step * 0.8);
  const zero = zeroOf(area, look.axis);
  context.fillStyle = look.color;
  context.globalAlpha = Math.max(0.6, look.fill);
  for (let i = 0; i < to.length; i++) {
    const value = to[i] ?? NaN;
    if (!Number.isFinite(value)) continue;
    const start = from ? yOf(area, from[i] ?? 0, look.axis) : zero;
    const end = yOf(area, value, look.axis);
    context.fillRect((area.xs[i] ?? 0) - width / 2, Math.min(start, end), width, Math.abs(end - start));
  }
  context.globalAlpha = 1;
}

function drawPoints(context: CanvasRenderingContext2D, area: Area, values: Float64Array, look: Look, pixelRatio: number) {
  const dots = new Path2D();
  const radius = 2 * pixelRatio;
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) return;
    const [x, y] = [area.xs[i] ?? 0, yOf(area, value, look.axis)];
    dots.moveTo(x + radius, y);
    dots.arc(x, y, radius, 0, 2 * Math.PI);
  });
  context.fillStyle = look.color;
  context.fill(dots);
}

function* stacked(context: CanvasRenderingContext2D, { lines, look, area, pixelRatio }: Picture, numbers: number[]) {
  const layers: [number, Float64Array, Float64Array][] = [];
  stack(lines, numbers, area.xs.length, (number, from, to) => layers.push([number, from, to]));
  for (const [number, from, to] of layers) {
    const own = look(number);
    if (own.draw === 'bars') {
      drawBars(context, area, from, to, own);
      yield;
      continue;
    }
    const path = new Path2D();
    const edge = new Path2D();
    runs(lines[number]?.values ?? to, own.spansGaps, (start, end) => {
      trace(path, to, area, own, start, end);
      trace(edge, to, area, own, start, end);
      for (let i = end - 1; i >= start; i--) path.lineTo(area.xs[i] ?? 0, yOf(area, from[i] ?? 0, own.axis));
      path.closePath();
    });
    context.fillStyle = own.color;
    context.globalAlpha = own.fill;
    context.fill(path);
    context.globalAlpha = 1;
    context.strokeStyle = own.color;
    context.lineWidth = own.width * pixelRatio;
    if (own.width > 0) context.stroke(edge);
    yield;
  }
}

function drawLimits(context: CanvasRenderingContext2D, { area, limits, pixelRatio }: Picture) {
  context.lineWidth = pixelRatio;
  context.setLineDash([6 * pixelRatio, 4 * pixelRatio]);
  for (const { value, color } of limits) {
    const y = yOf(area, value);
    if (y < 0 || y > area.height) continue;
    context.strokeStyle = color;
    context.beginPath();
    context.moveTo(0, y);
    context.lineTo(area.width, y);
    context.stroke();
  }
  context.setLineDash([]);
}
