/** How the lines and axes of a chart look. */
import { seriesColor } from './colors';

export interface Look {
  /** The name that is shown; empty for the labels of the series. */
  name: string;
  color: string;
  /** Width of the line, CSS pixels. */
  width: number;
  /** How opaque the area below the line is, 0 to 1. */
  fill: number;
  /** Lines of the same stack lie on each other; null for a line that begins at zero. */
  stack: string | null;
  draw: 'line' | 'bars' | 'points';
  /** Whether a value holds until the next one, instead of being connected to it. */
  isStep: boolean;
  isDashed: boolean;
  /** Whether the line goes on over missing values. */
  spansGaps: boolean;
  /** 0 for the left axis, 1 for the right one. */
  axis: 0 | 1;
}

/** An axis of values. Without bounds it fits what is shown. */
export interface ValueAxis {
  min: number | null;
  max: number | null;
  isLog: boolean;
  format: (value: number) => string;
  /** Whether marks are at multiples of powers of two, as suits bytes. */
  isBinary?: boolean;
  label: string;
}

/** A horizontal line at a value of the left axis. */
export interface Limit {
  value: number;
  color: string;
}

const MANY = 200;

/** The look of a line of the query page. */
export function plainLook(line: number, isStacked: boolean, count: number): Look {
  return {
    name: '',
    color: seriesColor(line),
    width: count > MANY ? 1 : 1.5,
    fill: isStacked ? 0.45 : 0,
    stack: isStacked ? '' : null,
    draw: 'line',
    isStep: false,
    isDashed: false,
    spansGaps: false,
    axis: 0,
  };
}
