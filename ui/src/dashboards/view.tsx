/** One dashboard: time range, variables, rows and panels. */
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Banner, Empty, Loading } from '../components/feedback';
import { PageLink } from '../components/parts';
import { place } from '../router';
import { tenant } from '../settings';
import type { Scope } from './data/interpolate';
import { interpolate } from './data/interpolate';
import { intervalsOf, parseInterval, resolveRange, timeVariables } from './data/time-range';
import { resolveVariables } from './data/variable-options';
import { type LaidOut, layOut } from './layout';
import type { Chosen, Dashboard, Option } from './model';
import { load } from './open';
import { PanelFrame } from './panel-frame';
import { changeState, readState, wantedValues } from './state';
import { Toolbar } from './toolbar';
import { Variables } from './variables';

/** The shortest time between two refreshes. */
const MIN_REFRESH_MS = 1000;
const ROW_PIXELS = 30;
const GAP_PIXELS = 8;

export function DashboardView({ name }: { name: string }) {
  const [dashboard, setDashboard] = useState<Dashboard | null>(null);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    const abort = new AbortController();
    load(name, abort.signal).then(setDashboard, (error: Error) => abort.signal.aborted || setProblem(error.message));
    return () => abort.abort();
  }, [name]);
  if (problem) {
    return (
      <div class="stack">
        <div class="page-head"><h1>Dashboards</h1></div>
        <Banner tone="bad">{problem}</Banner>
        <p><PageLink page="dashboards">All dashboards</PageLink></p>
      </div>
    );
  }
  return dashboard ? <Opened dashboard={dashboard} /> : <Loading what="Opening the dashboard" />;
}

/** The moment that "now" stands for: it changes when the dashboard is refreshed. */
function useNow(refresh: string): [nowMs: number, refreshNow: () => void] {
  const [nowMs, setNow] = useState(Date.now);
  const everyMs = refresh ? parseInterval(refresh) : null;
  useEffect(() => {
    if (!everyMs) return;
    const timer = setInterval(() => document.visibilityState === 'visible' && setNow(Date.now()), Math.max(MIN_REFRESH_MS, everyMs));
    return () => clearInterval(timer);
  }, [everyMs]);
  return [nowMs, () => setNow(Date.now())];
}

function useVariables(dashboard: Dashboard, range: { fromMs: number; toMs: number }, fixed: Record<string, string>) {
  const [resolved, setResolved] = useState<{ chosen: Chosen[]; failures: string[] } | null>(null);
  const wanted = dashboard.variables.map(({ name }) => place.value.params.getAll(`var-${name}`).join('\u0000')).join('\u0001');
  useEffect(() => {
    const abort = new AbortController();
    resolveVariables(dashboard.variables, wantedValues, range, fixed, abort.signal).then(setResolved, () => {});
    return () => abort.abort();
    // The range moves with every refresh; options are looked up again when somebody changes it.
  }, [dashboard, wanted, tenant.value, place.value.params.get('from'), place.value.params.get('to')]);
  return resolved;
}

function Opened({ dashboard }: { dashboard: Dashboard }) {
  const state = readState(dashboard);
  const [nowMs, refreshNow] = useNow(state.refresh);
  const range = useMemo(() => resolveRange(state.from, state.to, nowMs), [state.from, state.to, nowMs]);
  const fixed = useMemo(
    () => ({
      ...timeVariables(range, intervalsOf(range, 1000, '')),
      __dashboard: dashboard.title, __org: '1', __user: '', 'timeFilter': '', __name: dashboard.title,
    }),
    [range, dashboard],
  );
  const resolved = useVariables(dashboard, range, fixed);
  const scope = useMemo((): Scope | null => resolved && { variables: resolved.chosen, fixed, repeated: {} }, [resolved, fixed]);
  const sections = useMemo(() => (scope ? layOut(dashboard.sections, scope) : []), [dashboard, resolved]);
  const zoom = (startMs: number, endMs: number) => changeState({ from: String(Math.round(startMs)), to: String(Math.round(Math.max(endMs, startMs + 1000))) });
  const viewed = state.viewed === null ? null : sections.flatMap(({ panels }) => panels).find(({ panel }) => panel.id === state.viewed);
  return (
    <div class="stack dashboard">
      <div class="page-head">
        <h1>{scope ? interpolate(dashboard.title, scope, 'text') : dashboard.title}</h1>
        <PageLink page="dashboards" class="button plain">All dashboards</PageLink>
        <span class="spacer" />
        <Toolbar state={state} range={range} refreshNow={refreshNow} dashboard={dashboard} />
      </div>
      {resolved && scope && <Variables chosen={resolved.chosen} />}
      {resolved && resolved.failures.length > 0 && <Banner tone="bad"><strong>Some variables have no options.</strong> {resolved.failures.join('; ')}</Banner>}
      {dashboard.notes.map((note) => <Banner key={note} tone="info">{note}</Banner>)}
      {!scope ? (
        <Loading what="Looking up variables" />
      ) : viewed ? (
        <div class="dash-viewed">
          <PanelFrame placed={viewed} dashboard={dashboard} scope={{ ...scope, repeated: viewed.repeated }} range={range} onZoom={zoom} isViewed />
        </div>
      ) : sections.length === 0 ? (
        <div class="card"><Empty title="This dashboard has no panels" /></div>
      ) : (
        sections.map((laidOut) => <Row key={laidOut.key} laidOut={laidOut} dashboard={dashboard} scope={scope} range={range} onZoom={zoom} />)
      )}
    </div>
  );
}

function Row({ laidOut: { section, panels, repeated }, dashboard, scope, range, onZoom }: {
  laidOut: LaidOut;
  dashboard: Dashboard;
  scope: Scope;
  range: { fromMs: number; toMs: number };
  onZoom: (startMs: number, endMs: number) => void;
}) {
  const [isOpen, setOpen] = useState(!section.isCollapsed);
  const within = useMemo((): Scope => ({ ...scope, repeated }), [scope, JSON.stringify(repeated)]);
  return (
    <section class="dash-row">
      {section.title !== null && (
        <h2>
          <button type="button" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
            <span aria-hidden="true">{isOpen ? '▾' : '▸'}</span> {interpolate(section.title, within, 'text') || 'Row'}
            {!isOpen && <span class="muted"> ({panels.length} {panels.length === 1 ? 'panel' : 'panels'})</span>}
          </button>
        </h2>
      )}
      {isOpen && (
        <div class="dash-grid">
          {panels.map((placed) => {
            const { x, y, w, h } = placed.place;
            const style = { gridColumn: `${x + 1} / span ${w}`, gridRow: `${y + 1} / span ${h}`, '--dash-height': `${h * (ROW_PIXELS + GAP_PIXELS) - GAP_PIXELS}px` };
            return (
              <div key={placed.key} class="dash-cell" style={style}>
                <Scoped scope={within} repeated={placed.repeated}>
                  {(own) => <PanelFrame placed={placed} dashboard={dashboard} scope={own} range={range} onZoom={onZoom} />}
                </Scoped>
              </div>
            );
          })}
        </div>
      )}
    </section>
  );
}

/** Keeps a scope the same object while it has the same contents, so that panels do not run again. */
function Scoped({ scope, repeated, children }: { scope: Scope; repeated: Record<string, Option>; children: (scope: Scope) => preact.ComponentChildren }) {
  const key = JSON.stringify(repeated);
  const own = useMemo((): Scope => ({ ...scope, repeated }), [scope, key]);
  const render = useRef(children);
  render.current = children;
  return <>{render.current(own)}</>;
}
