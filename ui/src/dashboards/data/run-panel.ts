/** Runs the queries of a panel and makes its frames. */
import { failureOf } from '../../api/client';
import { inTurn } from '../../api/turns';
import type { Graph } from '../../query/result';
import { MAX_ROWS, MAX_SERIES, runGrid, runAt } from '../../query/run';
import type { Panel, Query } from '../model';
import type { Frame } from './frame';
import { framesOfGraph, framesOfTable, tableOfGraph } from './frames';
import { type Scope, interpolate } from './interpolate';
import { configure } from './overrides';
import { type TimeRange, intervalsOf, parseInterval, parseMoment, timeVariables } from './time-range';
import { transform } from './transform';

export interface PanelData {
  frames: Frame[];
  /** The answer of a query for a heatmap or of native histograms. */
  graph: Graph | null;
  range: TimeRange;
  /** The queries as they were sent. */
  sent: { expr: string; isInstant: boolean }[];
  warnings: string[];
  /** What went wrong with some queries, while others answered. */
  failures: string[];
  /** Transformations that are not known. */
  unknown: string[];
}

/** The range of a panel, which may have its own or be shifted into the past. */
export function rangeOf(panel: Panel, range: TimeRange, nowMs: number): TimeRange {
  let { fromMs, toMs } = range;
  if (panel.timeFrom) {
    const own = parseMoment(panel.timeFrom.startsWith('now') ? panel.timeFrom : `now-${panel.timeFrom}`, nowMs, false);
    if (own !== null) [fromMs, toMs] = [own, nowMs];
  }
  const shift = panel.timeShift ? parseInterval(panel.timeShift) : null;
  return shift ? { fromMs: fromMs - shift, toMs: toMs - shift } : { fromMs, toMs };
}

const MAX_POINTS = 5000;

/** Runs all queries. Fails if none of them answers. `width` is the room for points, CSS pixels. */
export async function runPanel(panel: Panel, scope: Scope, dashboardRange: TimeRange, width: number, signal: AbortSignal): Promise<PanelData> {
  const range = rangeOf(panel, dashboardRange, Date.now());
  const queries = panel.queries.filter(({ isHidden, expr }) => !isHidden && expr.trim() !== '');
  const points = Math.min(MAX_POINTS, panel.maxDataPoints ?? Math.max(100, Math.round(width)));
  const runs = queries.map((query) => prepare(panel, query, scope, range, points));
  const outcomes = await Promise.all(
    runs.map((run) =>
      inTurn(signal, () => send(run, signal)).then(
        (answer) => ({ answer, failure: null }),
        (error) => ({ answer: null, failure: failureOf(error) }),
      ),
    ),
  );
  signal.throwIfAborted();
  const failures = outcomes.map(({ failure }) => failure).filter((failure) => failure !== null);
  const [first] = failures;
  if (first && failures.length === outcomes.length) throw first;

  const isOnly = queries.filter(({ format }) => format === 'table').length < 2;
  const frames = outcomes.flatMap(({ answer }, i) => {
    const { query } = runs[i] ?? {};
    if (!answer || !query) return [];
    const { result } = answer;
    if (result.type === 'table') return framesOfTable(result, query, isOnly);
    return query.format === 'table' ? tableOfGraph(result, query, isOnly) : framesOfGraph(result, query);
  });
  const graphs = outcomes.map(({ answer }) => answer?.result).filter((result) => result?.type === 'graph');
  const changed = transform(frames, panel.transformations);
  return {
    frames: configure(changed.frames, panel.field, panel.overrides),
    graph: graphs.length === 1 ? (graphs[0] ?? null) : null,
    range,
    sent: runs.map(({ query, isInstant }) => ({ expr: query.expr, isInstant })),
    warnings: [...new Set(outcomes.flatMap(({ answer }) => answer?.warnings ?? []))],
    failures: failures.map(({ message }) => message),
    unknown: changed.unknown,
  };
}

interface Run {
  query: Query;
  isInstant: boolean;
  range: TimeRange;
  stepMs: number;
}

function prepare(panel: Panel, query: Query, scope: Scope, range: TimeRange, points: number): Run {
  const text = (written: string) => interpolate(written, scope, 'text');
  const intervals = intervalsOf(range, points, text(query.interval) || text(panel.interval), query.intervalFactor);
  const within: Scope = { ...scope, fixed: { ...scope.fixed, ...timeVariables(range, intervals) } };
  const expr = interpolate(query.expr, within, 'query');
  const legend = interpolate(query.legend, within, 'text');
  return { query: { ...query, expr, legend }, isInstant: query.isInstant && !query.isRange, range, stepMs: intervals.stepMs };
}

function send({ query, isInstant, range, stepMs }: Run, signal: AbortSignal) {
  if (isInstant) return runAt(query.expr, range.toMs, MAX_ROWS, signal);
  // On whole multiples of the step, so that a refresh does not move the points.
  const startMs = Math.floor(range.fromMs / stepMs) * stepMs;
  const count = Math.floor((range.toMs - startMs) / stepMs) + 1;
  return runGrid(query.expr, { start: startMs / 1000, step: stepMs / 1000, count }, MAX_SERIES, signal);
}
