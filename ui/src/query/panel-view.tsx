/** One panel of the query page: editor, controls and result. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Failure, failureOf, post } from '../api/client';
import { Banner, FailureBanner, Notices } from '../components/feedback';
import { Segments } from '../components/parts';
import { formatSeconds } from '../format/duration';
import { formatBytes, formatCount, plural } from '../format/number';
import { remember, tenant } from '../settings';
import { EndControl, RangeControl, ResolutionControl } from './controls';
import { Editor, type Given } from './editor';
import { ExplainView } from './explain';
import { GraphView } from './graph';
import { type Mode, type Panel, type Tab, tooManyPoints } from './panel';
import type { QueryResult } from './result';
import { runInstant, runRange } from './run';
import { TableView } from './table';
import { TreeView } from './tree-view';

interface Outcome {
  tab: Tab;
  result: QueryResult | null;
  failure: Failure | null;
}

/** Runs the panel's query whenever something that it depends on changes, and when `turn` does. */
function useOutcome(panel: Panel, turn: number) {
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const [startedMs, setStarted] = useState(0);
  const abort = useRef(new AbortController());
  const { expr, tab, endMs } = panel;
  const ofGraph = tab === 'graph' ? [panel.rangeMs, JSON.stringify(panel.resolution)] : [0, ''];
  useEffect(() => {
    if (!expr.trim() || tab === 'explain' || (tab === 'graph' && tooManyPoints(panel))) {
      setOutcome(null);
      return;
    }
    const own = new AbortController();
    abort.current = own;
    setStarted(performance.now());
    const end = (next: Outcome) => {
      if (abort.current !== own) return;
      setStarted(0);
      setOutcome(next);
    };
    (tab === 'graph' ? runRange : runInstant)(panel, own.signal).then(
      (result) => end({ tab, result, failure: null }),
      (error) => end({ tab, result: null, failure: failureOf(error) }),
    );
    return () => {
      abort.current = new AbortController();
      own.abort();
      setStarted(0);
    };
  }, [expr, tab, endMs, ...ofGraph, tenant.value, turn]);
  return { outcome: outcome?.tab === tab ? outcome : null, startedMs, cancel: () => abort.current.abort() };
}

export interface PanelProps {
  panel: Panel;
  number: number;
  /** Changes when the page is refreshed. */
  refresh: number;
  change: (changes: Partial<Panel>) => void;
  remove: (() => void) | null;
  duplicate: () => void;
  /** Adds a panel with another query after this one. */
  openBeside: (query: string) => void;
  openHistory: (use: (query: string) => void) => void;
  onActive: () => void;
}

export function PanelView({ panel, number, refresh, change, remove, duplicate, openBeside, openHistory, onActive }: PanelProps) {
  const [draft, setDraft] = useState(panel.expr);
  const [given, setGiven] = useState<Given>({ text: panel.expr });
  const [turn, setTurn] = useState(0);
  const [formatFailure, setFormatFailure] = useState('');
  const isNow = panel.endMs === null;
  const { outcome, startedMs, cancel } = useOutcome(panel, turn + (isNow ? refresh : 0));

  const write = (text: string) => {
    setDraft(text);
    setGiven({ text });
  };
  const run = (text: string) => {
    remember(text);
    if (text === panel.expr) setTurn((turn) => turn + 1);
    else change({ expr: text });
  };
  const format = () =>
    post<string>('format_query', { query: draft }).then(
      ({ data }) => {
        write(data);
        setFormatFailure('');
      },
      (error: Error) => setFormatFailure(error.message),
    );
  const zoom = (startMs: number, endMs: number) => change({ rangeMs: Math.max(1000, Math.round((endMs - startMs) / 1000) * 1000), endMs: Math.round(endMs / 1000) * 1000 });

  return (
    <section class="card panel" aria-label={`Panel ${number}`} onFocusCapture={onActive} onPointerDown={onActive}>
      <div class="panel-editor">
        <Editor
          given={given}
          onChange={(text) => {
            setDraft(text);
            setFormatFailure('');
          }}
          onRun={run}
          label={`Query of panel ${number}`}
          shouldFocus={number === 1 && !panel.expr}
        />
        <button type="button" class="button plain" title="Earlier queries" onClick={() => openHistory((query) => { write(query); run(query); })}>History</button>
        <button type="button" class="button plain" title="The parts of the query" aria-pressed={panel.hasTree} onClick={() => change({ hasTree: !panel.hasTree })}>Tree</button>
        <button type="button" class="button plain" title="Lay the query out over several lines" disabled={!draft.trim()} onClick={format}>Format</button>
        <button type="button" class="button primary" onClick={() => run(draft)}>Run</button>
      </div>
      {formatFailure && <div class="panel-notice"><Banner tone="bad">{formatFailure}</Banner></div>}
      {panel.hasTree && <TreeView query={draft} open={openBeside} />}
      <div class="panel-controls">
        <Segments<Tab> label="View" value={panel.tab} options={[['table', 'Table'], ['graph', 'Graph'], ['explain', 'Explain']]} onChange={(tab) => change({ tab })} />
        {panel.tab !== 'table' && <RangeControl panel={panel} change={change} />}
        <EndControl panel={panel} change={change} label={panel.tab === 'table' ? 'Time' : 'End time'} />
        {panel.tab !== 'table' && <ResolutionControl panel={panel} change={change} />}
        {panel.tab === 'graph' && (
          <>
            <Segments<Mode> label="Picture" value={panel.mode} options={[['lines', 'Lines'], ['stacked', 'Stacked'], ['heatmap', 'Heatmap']]} onChange={(mode) => change({ mode })} />
            <label class="row check">
              <input type="checkbox" checked={panel.hasExemplars} onChange={(event) => change({ hasExemplars: event.currentTarget.checked })} /> Exemplars
            </label>
          </>
        )}
        <span class="spacer" />
        <button type="button" class="button plain" onClick={duplicate}>Duplicate</button>
        {remove && <button type="button" class="button plain" onClick={remove}>Remove</button>}
      </div>
      <div class="panel-result" aria-busy={startedMs > 0}>
        {startedMs > 0 && <Running startedMs={startedMs} cancel={cancel} />}
        <Result panel={panel} outcome={outcome} turn={turn} onZoom={zoom} isRunning={startedMs > 0} />
      </div>
    </section>
  );
}

/** Says that a query is running once it has taken long enough to wonder. */
function Running({ startedMs, cancel }: { startedMs: number; cancel: () => void }) {
  const [now, setNow] = useState(startedMs);
  useEffect(() => {
    const timer = setInterval(() => setNow(performance.now()), 200);
    return () => clearInterval(timer);
  }, []);
  if (now - startedMs < 300) return null;
  return (
    <div class="running" role="status">
      <i class="spinner" /> Running for {((now - startedMs) / 1000).toFixed(1)}s
      <button type="button" class="button" onClick={cancel}>Cancel</button>
    </div>
  );
}

function Result({ panel, outcome, turn, onZoom, isRunning }: {
  panel: Panel;
  outcome: Outcome | null;
  turn: number;
  onZoom: (startMs: number, endMs: number) => void;
  isRunning: boolean;
}) {
  if (!panel.expr.trim()) return <p class="panel-hint muted">Nothing runs before you ask for it. Type a query, or start from a metric on the Explore page.</p>;
  if (panel.tab === 'explain') return <ExplainView panel={panel} turn={turn} />;
  const refused = panel.tab === 'graph' && tooManyPoints(panel);
  if (refused) return <Banner tone="bad">{refused}</Banner>;
  if (!outcome) return isRunning ? <div class="panel-placeholder" /> : null;
  const { result, failure } = outcome;
  if (failure) return failure.kind === 'cancelled' ? <Banner tone="info">{failure.message}</Banner> : <FailureBanner failure={failure} />;
  if (!result) return null;
  return (
    <>
      <Notices warnings={result.warnings} infos={result.infos} />
      {result.result.type === 'graph' ? <GraphView graph={result.result} panel={panel} onZoom={onZoom} /> : <TableView table={result.result} />}
      <Cost of={result} />
    </>
  );
}

function Cost({ of: { cost, result } }: { of: QueryResult }) {
  const count = result.type === 'graph' ? result.lines.length : result.rows.length;
  const { samples, timings } = cost.stats ?? {};
  const onServer = timings?.execTotalTime;
  const read = samples?.samplesRead ?? samples?.totalQueryableSamples;
  const parts = [
    plural(count, 'series', 'series'),
    `${formatSeconds(cost.tookMs / 1000)}${onServer === undefined ? '' : `, of which ${formatSeconds(onServer)} on the server`}`,
    read === undefined ? '' : `${formatCount(read)} samples read`,
    formatBytes(cost.bytes),
  ];
  return <p class="cost muted">{parts.filter(Boolean).join(' · ')}</p>;
}
