/** The frame of a panel: title, what is missing or wrong, and its picture once it is visible. */
import { Component, type ComponentChildren } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { Banner } from '../components/feedback';
import { Dialog, QueryLink } from '../components/parts';
import { formatDuration } from '../format/duration';
import { tenant } from '../settings';
import { Failure, failureOf } from '../api/client';
import { interpolate, type Scope } from './data/interpolate';
import { type PanelData, runPanel } from './data/run-panel';
import type { TimeRange } from './data/time-range';
import type { Placed } from './layout';
import type { Dashboard, Panel } from './model';
import { KINDS, OF_GRAFANA } from './panels/kinds';
import { TablePicture } from './panels/table';
import { TextPanel } from './panels/text';
import { SafeLink } from './panels/text';
import { changeState } from './state';

interface Outcome {
  data: PanelData | null;
  failure: Failure | null;
}

/** The panel with the queries of another one, if it shows that one's data. */
function withSource(panel: Panel, dashboard: Dashboard): Panel {
  if (panel.dataOf === null) return panel;
  const source = dashboard.sections.flatMap(({ panels }) => panels).find(({ id }) => id === panel.dataOf);
  return source ? { ...panel, queries: source.queries, interval: panel.interval || source.interval, refusal: source.refusal } : { ...panel, refusal: `The panel ${panel.dataOf}, whose data this one shows, does not exist.` };
}

/** Whether an element is near the visible part of the page, which is not known at first, and its size. */
function useVisible() {
  const element = useRef<HTMLDivElement>(null);
  const [isVisible, setVisible] = useState<boolean | null>(null);
  const [size, setSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    const host = element.current;
    if (!host) return;
    const seen = new IntersectionObserver((entries) => setVisible(entries.some(({ isIntersecting }) => isIntersecting)), { rootMargin: '200px' });
    const resized = new ResizeObserver(() => setSize({ width: host.clientWidth, height: host.clientHeight }));
    seen.observe(host);
    resized.observe(host);
    return () => {
      seen.disconnect();
      resized.disconnect();
    };
  }, []);
  return { element, isVisible, size };
}

/** Runs the panel's queries while it is visible. What was shown stays until the next answer. */
function useData(panel: Panel, scope: Scope, range: TimeRange, isVisible: boolean | null, width: number) {
  const [outcome, setOutcome] = useState<Outcome>({ data: null, failure: null });
  const [isRunning, setRunning] = useState(false);
  const asks = panel.refusal === '' && panel.queries.length > 0 && panel.kind !== 'text' && !(panel.kind in OF_GRAFANA);
  // A few pixels more or less are no reason to ask again.
  const room = Math.ceil(width / 50) * 50;
  const done = useRef<unknown>(null);
  useEffect(() => {
    const key = JSON.stringify([range, scope.repeated, tenant.value, room]);
    if (!asks || !isVisible || room === 0 || (done.current instanceof Map && done.current.get(scope) === key)) return;
    const abort = new AbortController();
    setRunning(true);
    runPanel(panel, scope, range, room, abort.signal).then(
      (data) => {
        done.current = new Map([[scope, key]]);
        setRunning(false);
        setOutcome({ data, failure: null });
      },
      (error) => {
        if (abort.signal.aborted) return;
        setRunning(false);
        setOutcome((old) => ({ ...old, failure: failureOf(error) }));
      },
    );
    return () => abort.abort();
  }, [panel, scope, range, isVisible, room, tenant.value]);
  const isDue = asks && isVisible !== false && !outcome.data && !outcome.failure;
  return { ...outcome, isRunning: isRunning || isDue };
}

export function PanelFrame({ placed, dashboard, scope, range, onZoom, isViewed = false }: {
  placed: Placed;
  dashboard: Dashboard;
  scope: Scope;
  range: TimeRange;
  onZoom: (startMs: number, endMs: number) => void;
  isViewed?: boolean;
}) {
  const panel = useMemo(() => withSource(placed.panel, dashboard), [placed.panel, dashboard]);
  const { element, isVisible, size } = useVisible();
  const { data, failure, isRunning } = useData(panel, scope, range, isVisible, size.width);
  const [isAsking, setAsking] = useState(false);
  const title = interpolate(panel.title, scope, 'text');
  const Picture = KINDS[panel.kind];
  const notes = [
    ...(data?.warnings ?? []),
    ...(data?.failures ?? []),
    ...(data?.unknown ?? []).map((id) => `The transformation “${id}” is not known here, so the data is shown without it.`),
  ];
  return (
    <section class={`card dash-panel${panel.isTransparent ? ' is-transparent' : ''}`} aria-label={title || 'Panel'} aria-busy={isRunning} data-kind={panel.kind}>
      <header>
        <h3 title={panel.description || title}>{title}</h3>
        {isRunning && <i class="spinner" aria-hidden="true" />}
        {notes.length > 0 && <span class="dash-mark warn" role="img" aria-label={notes.join('\n')} title={notes.join('\n')}>⚠</span>}
        {panel.description && <span class="dash-mark muted" role="img" aria-label={panel.description} title={panel.description}>ℹ</span>}
        <span class="spacer" />
        <button type="button" class="button plain dash-menu" aria-label={`About ${title || 'this panel'}`} onClick={() => setAsking(true)}>⋯</button>
      </header>
      {failure && failure.kind !== 'cancelled' && <p class="scrape-error dash-failure" role="alert">{failure.message}</p>}
      <div class="dash-body" ref={element}>
        <Guard>
          {panel.kind === 'text' ? (
            <TextPanel panel={panel} scope={scope} />
          ) : panel.kind in OF_GRAFANA ? (
            <p class="dash-nothing muted">This panel shows {OF_GRAFANA[panel.kind]}, which this server does not have.</p>
          ) : panel.refusal ? (
            <p class="dash-nothing muted">{panel.refusal}</p>
          ) : (
            data && size.width > 0 && (
              <>
                {!Picture && <p class="dash-unknown muted">Panels of the kind “{panel.kind}” cannot be drawn here. This is their data.</p>}
                {Picture ? (
                  <Picture panel={panel} data={data} scope={scope} width={size.width} height={size.height} onZoom={onZoom} />
                ) : (
                  <TablePicture panel={panel} data={data} scope={scope} width={size.width} height={size.height} onZoom={onZoom} />
                )}
              </>
            )
          )}
        </Guard>
      </div>
      {isAsking && <About panel={panel} title={title} data={data} scope={scope} range={range} isViewed={isViewed} close={() => setAsking(false)} />}
    </section>
  );
}

/** One panel that cannot be drawn must not take the dashboard with it. */
class Guard extends Component<{ children: ComponentChildren }, { error: Error | null }> {
  override state = { error: null as Error | null };

  override componentDidCatch(error: Error) {
    this.setState({ error });
  }

  render() {
    const { error } = this.state;
    return error ? <p class="scrape-error">This panel could not be drawn: {error.message}</p> : this.props.children;
  }
}

function About({ panel, title, data, scope, range, isViewed, close }: { panel: Panel; title: string; data: PanelData | null; scope: Scope; range: TimeRange; isViewed: boolean; close: () => void }) {
  const rangeText = formatDuration(Math.max(1000, Math.round((range.toMs - range.fromMs) / 1000) * 1000));
  return (
    <Dialog title={title || 'Panel'} onClose={close}>
      <div class="stack">
        {panel.description && <p>{panel.description}</p>}
        {data?.failures.map((failure) => <Banner key={failure} tone="bad">{failure}</Banner>)}
        {data && data.warnings.length > 0 && <Banner tone="warn">{data.warnings.join('; ')}</Banner>}
        {data?.unknown.map((id) => <Banner key={id} tone="info">The transformation “{id}” is not known here, so the data is shown without it.</Banner>)}
        {data?.sent.map(({ expr, isInstant }, i) => (
          <div class="rule-query" key={i}>
            <code>{expr}</code>
            <QueryLink expr={expr} tab={isInstant ? 'table' : 'graph'} range={rangeText} class="button">Open the query</QueryLink>
          </div>
        ))}
        {panel.links.map(({ title, url }) => <p key={url}><SafeLink to={interpolate(url, scope, 'address')}>{interpolate(title, scope, 'text') || url}</SafeLink></p>)}
        <p class="row">
          <button type="button" class="button" onClick={() => { close(); changeState({ viewPanel: isViewed ? null : String(panel.id) }); }}>{isViewed ? 'Back to the dashboard' : 'Show this panel alone'}</button>
          <span class="muted">Kind: {panel.kind}</span>
        </p>
      </div>
    </Dialog>
  );
}
