/** Draws lines and areas on a canvas, in slices of a few milliseconds, so that thousands of series do not hold up the page. */
import type { Line } from '../query/result';
import { type Area, stack, yOf } from './geometry';

const SLICE_MS = 10;

export interface Picture {
  lines: Line[];
  shown: number[];
  isStacked: boolean;
  area: Area;
  pixelRatio: number;
  color: (line: number) => string;
}

/** Starts drawing. Returns a function that stops it. `done` is called once everything is drawn. */
export function paint(canvas: HTMLCanvasElement, picture: Picture, done: () => void): () => void {
  const context = canvas.getContext('2d');
  if (!context) return () => {};
  context.clearRect(0, 0, canvas.width, canvas.height);
  context.lineJoin = 'round';
  const work = picture.isStacked ? areas(context, picture) : strokes(context, picture);
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

function* strokes(context: CanvasRenderingContext2D, { lines, shown, area, pixelRatio, color }: Picture) {
  const width = (shown.length > 200 ? 1 : 1.5) * pixelRatio;
  for (const number of shown) {
    const line = lines[number];
    if (!line) continue;
    stroke(context, line.values, area, color(number), width);
    yield;
  }
}

/** Draws a line with gaps where it has no value. A value between two gaps becomes a dot. */
export function stroke(context: CanvasRenderingContext2D, values: Float64Array, area: Area, color: string, width: number) {
  context.strokeStyle = color;
  context.fillStyle = color;
  context.lineWidth = width;
  context.beginPath();
  const dots = new Path2D();
  let isOpen = false;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] ?? NaN;
    if (!Number.isFinite(value)) {
      isOpen = false;
      continue;
    }
    const x = area.xs[i] ?? 0;
    const y = yOf(area, value);
    if (isOpen) {
      context.lineTo(x, y);
    } else if (Number.isFinite(values[i + 1] ?? NaN)) {
      context.moveTo(x, y);
      isOpen = true;
    } else {
      const radius = width * 1.5;
      dots.moveTo(x + radius, y);
      dots.arc(x, y, radius, 0, 2 * Math.PI);
    }
  }
  context.stroke();
  context.fill(dots);
}

function* areas(context: CanvasRenderingContext2D, { lines, shown, area, pixelRatio, color }: Picture) {
  const layers: [number, Float64Array, Float64Array][] = [];
  stack(lines, shown, area.xs.length, (number, bottom, top) => layers.push([number, bottom, top]));
  for (const [number, bottom, top] of layers) {
    const path = new Path2D();
    for (let i = 0; i < top.length; i++) path.lineTo(area.xs[i] ?? 0, yOf(area, top[i] ?? 0));
    const edge = new Path2D(path);
    for (let i = top.length - 1; i >= 0; i--) path.lineTo(area.xs[i] ?? 0, yOf(area, bottom[i] ?? 0));
    path.closePath();
    context.fillStyle = color(number);
    context.globalAlpha = 0.45;
    context.fill(path);
    context.globalAlpha = 1;
    context.strokeStyle = color(number);
    context.lineWidth = pixelRatio;
    context.stroke(edge);
    yield;
  }
}
