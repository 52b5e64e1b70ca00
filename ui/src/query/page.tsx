/** The query page: panels, their form in the address, history and shortcuts. */
import './query.css';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Empty } from '../components/feedback';
import { Dialog, Search } from '../components/parts';
import { href, navigate, place } from '../router';
import { queryHistory } from '../settings';
import { otherRange, shiftedEnd } from './controls';
import { type Panel, decodePanels, encodePanels, newPanel } from './panel';
import { PanelView } from './panel-view';

const REFRESH: [ms: number, text: string][] = [[0, 'No refresh'], [5000, 'Every 5s'], [15_000, 'Every 15s'], [60_000, 'Every 1m'], [300_000, 'Every 5m']];

const SHORTCUTS: [keys: string[], text: string][] = [
  [['/'], 'Write the query'],
  [['Enter'], 'Run the query, in the editor'],
  [['r'], 'Run again'],
  [['t'], 'Show the table'],
  [['g'], 'Show the graph'],
  [['e'], 'Explain the query'],
  [['+'], 'Longer range'],
  [['-'], 'Shorter range'],
  [[','], 'Earlier'],
  [['.'], 'Later'],
  [['0'], 'Now'],
  [['?'], 'Show this list'],
];

function initial(): Panel[] {
  const panels = decodePanels(place.value.params);
  return panels.length > 0 ? panels : [newPanel()];
}

export default function QueryPage() {
  const [panels, setPanels] = useState(initial);
  const [refreshMs, setRefreshMs] = useState(0);
  const [refresh, setRefresh] = useState(0);
  const [dialog, setDialog] = useState<'' | 'history' | 'shortcuts'>('');
  const active = useRef(panels[0]?.id ?? 0);
  const useQuery = useRef<(query: string) => void>(() => {});
  const written = useRef(place.value.params.toString());

  // The address changed by other means than this page: the browser's buttons, or a link.
  const search = place.value.params.toString();
  useEffect(() => {
    if (search === written.current) return;
    written.current = search;
    setPanels(initial());
  }, [search]);

  useEffect(() => {
    if (!refreshMs) return;
    const timer = setInterval(() => document.visibilityState === 'visible' && setRefresh((turn) => turn + 1), refreshMs);
    return () => clearInterval(timer);
  }, [refreshMs]);

  const apply = (next: Panel[]) => {
    const params = encodePanels(next);
    written.current = params.toString();
    setPanels(next);
    navigate(href('query', params));
  };
  const change = (id: number, changes: Partial<Panel>) => apply(panels.map((panel) => (panel.id === id ? { ...panel, ...changes } : panel)));
  const insert = (panel: Panel, after = panels.length - 1) => apply(panels.toSpliced(after + 1, 0, panel));

  useShortcuts((key) => {
    const panel = panels.find(({ id }) => id === active.current) ?? panels[0];
    if (!panel) return false;
    const by = (changes: Partial<Panel>) => change(panel.id, changes);
    const actions: Record<string, () => void> = {
      '/': () => focusEditor(panels.indexOf(panel)),
      r: () => setRefresh((turn) => turn + 1),
      t: () => by({ tab: 'table' }),
      g: () => by({ tab: 'graph' }),
      e: () => by({ tab: 'explain' }),
      '+': () => by({ rangeMs: otherRange(panel.rangeMs, true) }),
      '-': () => by({ rangeMs: otherRange(panel.rangeMs, false) }),
      ',': () => by({ endMs: shiftedEnd(panel, -1) }),
      '.': () => by({ endMs: shiftedEnd(panel, 1) }),
      '0': () => by({ endMs: null }),
      '?': () => setDialog('shortcuts'),
    };
    actions[key]?.();
    return key in actions;
  });

  return (
    <>
      <div class="page-head">
        <h1>Query</h1>
        <span class="spacer" />
        <label>
          <span class="visually-hidden">Refresh</span>
          <select class="field" value={String(refreshMs)} onChange={(event) => setRefreshMs(Number(event.currentTarget.value))}>
            {REFRESH.map(([ms, text]) => <option key={ms} value={String(ms)}>{text}</option>)}
          </select>
        </label>
        <button type="button" class="button" onClick={() => setDialog('shortcuts')}>Shortcuts <kbd>?</kbd></button>
      </div>
      <div class="stack">
        {panels.map((panel, i) => (
          <PanelView
            key={panel.id}
            panel={panel}
            number={i + 1}
            refresh={refresh}
            change={(changes) => change(panel.id, changes)}
            remove={panels.length > 1 ? () => apply(panels.filter(({ id }) => id !== panel.id)) : null}
            duplicate={() => insert(newPanel({ ...panel, id: newPanel().id }), i)}
            openBeside={(expr) => insert(newPanel({ ...panel, id: newPanel().id, expr, hasTree: false }), i)}
            openHistory={(use) => {
              useQuery.current = use;
              setDialog('history');
            }}
            onActive={() => { active.current = panel.id; }}
          />
        ))}
        <div><button type="button" class="button" onClick={() => insert(newPanel({ tab: panels.at(-1)?.tab ?? 'table' }))}>Add a panel</button></div>
      </div>
      {dialog === 'history' && <HistoryDialog use={(query) => useQuery.current(query)} close={() => setDialog('')} />}
      {dialog === 'shortcuts' && <ShortcutsDialog close={() => setDialog('')} />}
    </>
  );
}

function focusEditor(number: number) {
  const host = document.querySelectorAll('.editor')[number];
  host?.shadowRoot?.querySelector<HTMLElement>('.cm-content')?.focus();
}

/** Calls `act` for keys that are not typed into a field. */
function useShortcuts(act: (key: string) => boolean) {
  const latest = useRef(act);
  latest.current = act;
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector('dialog[open]')) return;
      const target = event.composedPath()[0];
      const isField = target instanceof HTMLElement && (target.isContentEditable || ['INPUT', 'SELECT', 'TEXTAREA'].includes(target.tagName));
      if (!isField && latest.current(event.key)) event.preventDefault();
    };
    document.addEventListener('keydown', onKey);
    return () => document.removeEventListener('keydown', onKey);
  }, []);
}

function ShortcutsDialog({ close }: { close: () => void }) {
  return (
    <Dialog title="Shortcuts" onClose={close}>
      <dl class="facts">
        {SHORTCUTS.map(([keys, text]) => [<dt key={text}>{keys.map((key) => <kbd key={key}>{key}</kbd>)}</dt>, <dd key={`${text}.`}>{text}</dd>])}
      </dl>
      <p class="muted">They act on the panel that you used last. Drag over a graph to zoom in; the browser's Back button undoes it.</p>
    </Dialog>
  );
}

function HistoryDialog({ use, close }: { use: (query: string) => void; close: () => void }) {
  const [filter, setFilter] = useState('');
  const found = queryHistory.value.filter((query) => query.toLowerCase().includes(filter.toLowerCase()));
  return (
    <Dialog title="Earlier queries" onClose={close}>
      {queryHistory.value.length === 0 ? (
        <Empty title="No queries yet"><p>Queries that you run are remembered in this browser.</p></Empty>
      ) : (
        <>
          <div class="row">
            <Search value={filter} onInput={setFilter} label="Filter earlier queries" />
            <button type="button" class="button plain" onClick={() => { queryHistory.value = []; }}>Forget all</button>
          </div>
          <ul class="history">
            {found.map((query) => (
              <li key={query}>
                <button type="button" class="mono" onClick={() => { close(); use(query); }}>{query}</button>
              </li>
            ))}
          </ul>
          {found.length === 0 && <p class="muted">No earlier query has this text in it.</p>}
        </>
      )}
    </Dialog>
  );
}
