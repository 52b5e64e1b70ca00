/** A panel of the query page, and its form in the address, which is Prometheus's, so that links from alerts work. */
import { formatDuration, parseDuration } from '../format/duration';
import { formatTime, parseTime } from '../format/time';

export type Tab = 'table' | 'graph' | 'explain';
export type Mode = 'lines' | 'stacked' | 'heatmap';
export type Density = 'low' | 'medium' | 'high';

export type Resolution = { type: 'auto'; density: Density } | { type: 'fixed' | 'custom'; stepMs: number };

export interface Panel {
  /** Distinguishes panels of the page while they are shown. */
  id: number;
  expr: string;
  tab: Tab;
  mode: Mode;
  rangeMs: number;
  /** The end of the range, or the moment of the table. Null for now. */
  endMs: number | null;
  resolution: Resolution;
  yMin: number | null;
  hasExemplars: boolean;
  hasTree: boolean;
}

let nextId = 1;

export function newPanel(changes: Partial<Panel> = {}): Panel {
  return {
    id: nextId++,
    expr: '',
    tab: 'table',
    mode: 'lines',
    rangeMs: 3_600_000,
    endMs: null,
    resolution: { type: 'auto', density: 'medium' },
    yMin: null,
    hasExemplars: false,
    hasTree: false,
    ...changes,
  };
}

/** How many points a graph has for each density. */
const POINTS: Record<Density, number> = { low: 100, medium: 250, high: 500 };
/** The server's limit on the points of a series. */
const MAX_POINTS = 11_000;

/** The step of a range query, milliseconds. */
export function stepOf(panel: Panel): number {
  const { resolution, rangeMs } = panel;
  if (resolution.type !== 'auto') return resolution.stepMs;
  const wanted = rangeMs / POINTS[resolution.density];
  // Whole seconds keep the points where they are when the page is refreshed.
  return wanted < 1000 ? Math.max(100, Math.round(wanted / 100) * 100) : Math.round(wanted / 1000) * 1000;
}

/** Why a range query would be refused, or an empty text. */
export function tooManyPoints(panel: Panel): string {
  const points = Math.floor(panel.rangeMs / stepOf(panel)) + 1;
  if (points <= MAX_POINTS) return '';
  return `A step of ${formatDuration(stepOf(panel))} gives ${points.toLocaleString('en-US')} points in ${formatDuration(panel.rangeMs)}; at most 11,000 are possible. Choose a longer step or a shorter range.`;
}

/** Reads all panels. Unknown values are ignored, like in Prometheus. */
export function decodePanels(params: URLSearchParams): Panel[] {
  const panels: Panel[] = [];
  for (let i = 0; params.has(`g${i}.expr`); i++) {
    panels.push(decodePanel((name) => params.get(`g${i}.${name}`)));
  }
  return panels;
}

const TABS: Record<string, Tab> = { 0: 'graph', 1: 'table', graph: 'graph', table: 'table', explain: 'explain' };

function decodePanel(get: (name: string) => string | null): Panel {
  const panel = newPanel({ expr: get('expr') ?? '' });
  panel.tab = TABS[get('tab') ?? ''] ?? panel.tab;
  panel.hasTree = get('show_tree') === '1';
  panel.hasExemplars = get('show_exemplars') === '1';
  const mode = get('display_mode');
  if (mode === 'lines' || mode === 'stacked' || mode === 'heatmap') panel.mode = mode;
  if (get('stacked') === '1') panel.mode = 'stacked';
  panel.rangeMs = parseDuration(get('range_input') ?? '') ?? panel.rangeMs;
  panel.endMs = parseTime(get('moment_input') ?? '', 'utc') ?? parseTime(get('end_input') ?? '', 'utc');
  const yMin = parseFloat(get('y_axis_min') ?? '');
  if (Number.isFinite(yMin)) panel.yMin = yMin;
  panel.resolution = decodeResolution(get) ?? panel.resolution;
  return panel;
}

function decodeResolution(get: (name: string) => string | null): Resolution | null {
  const seconds = (name: string): number => Number(get(name) ?? NaN) * 1000;
  const type = get('res_type');
  const density = get('res_density');
  if (type === 'auto' && (density === 'low' || density === 'medium' || density === 'high')) return { type, density };
  const stepMs = seconds('res_step');
  if ((type === 'fixed' || type === 'custom') && stepMs > 0) return { type, stepMs };
  const old = seconds('step_input');
  return !type && old > 0 ? { type: 'custom', stepMs: old } : null;
}

export function encodePanels(panels: Panel[]): URLSearchParams {
  const params = new URLSearchParams();
  panels.forEach((panel, i) => {
    const add = (name: string, value: string) => params.append(`g${i}.${name}`, value);
    add('expr', panel.expr);
    add('show_tree', panel.hasTree ? '1' : '0');
    add('tab', panel.tab);
    if (panel.endMs !== null) {
      add('end_input', formatTime(panel.endMs, 'utc'));
      add('moment_input', formatTime(panel.endMs, 'utc'));
    }
    add('range_input', formatDuration(panel.rangeMs));
    add('res_type', panel.resolution.type);
    if (panel.resolution.type === 'auto') add('res_density', panel.resolution.density);
    else add('res_step', String(panel.resolution.stepMs / 1000));
    add('display_mode', panel.mode);
    if (panel.yMin !== null) add('y_axis_min', String(panel.yMin));
    add('show_exemplars', panel.hasExemplars ? '1' : '0');
  });
  return params;
}
