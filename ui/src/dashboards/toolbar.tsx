/** The time range, refreshing, and what can be done with the dashboard. */
import { useEffect, useState } from 'preact/hooks';
import { formatTime } from '../format/time';
import { zone } from '../settings';
import { parseInterval, parseMoment, type TimeRange } from './data/time-range';
import type { Dashboard } from './model';
import { changeState, type State } from './state';

const QUICK: [from: string, to: string, text: string][] = [
  ['now-5m', 'now', 'Last 5 minutes'], ['now-15m', 'now', 'Last 15 minutes'], ['now-30m', 'now', 'Last 30 minutes'], ['now-1h', 'now', 'Last hour'], ['now-3h', 'now', 'Last 3 hours'],
  ['now-6h', 'now', 'Last 6 hours'], ['now-12h', 'now', 'Last 12 hours'], ['now-24h', 'now', 'Last 24 hours'], ['now-2d', 'now', 'Last 2 days'], ['now-7d', 'now', 'Last 7 days'],
  ['now-30d', 'now', 'Last 30 days'], ['now-90d', 'now', 'Last 90 days'], ['now/d', 'now/d', 'Today'], ['now-1d/d', 'now-1d/d', 'Yesterday'], ['now/w', 'now/w', 'This week'], ['now/M', 'now/M', 'This month'],
];

const REFRESHES = ['5s', '10s', '30s', '1m', '5m', '15m', '30m', '1h'];

const isRelative = (text: string): boolean => text.startsWith('now');

export function Toolbar({ state, range, refreshNow, dashboard }: { state: State; range: TimeRange; refreshNow: () => void; dashboard: Dashboard }) {
  const quick = QUICK.findIndex(([from, to]) => from === state.from && to === state.to);
  const span = range.toMs - range.fromMs;
  const setRange = (fromMs: number, toMs: number) => changeState({ from: String(Math.round(fromMs)), to: String(Math.round(toMs)) });
  const refreshes = state.refresh && !REFRESHES.includes(state.refresh) && parseInterval(state.refresh) ? [state.refresh, ...REFRESHES] : REFRESHES;
  return (
    <div class="row dash-toolbar">
      <span class="joined" role="group" aria-label="Time range">
        <button type="button" class="button icon" aria-label="Earlier" onClick={() => setRange(range.fromMs - span / 2, range.toMs - span / 2)}>‹</button>
        <select
          class="field"
          aria-label="Range"
          value={String(quick)}
          onChange={(event) => {
            const chosen = QUICK[Number(event.currentTarget.value)];
            if (chosen) changeState({ from: chosen[0], to: chosen[1] });
          }}
        >
          {quick < 0 && <option value="-1">{isRelative(state.from) && state.to === 'now' ? `Last ${state.from.replace(/^now-/, '')}` : 'As written'}</option>}
          {QUICK.map(([, , text], i) => <option key={text} value={String(i)}>{text}</option>)}
        </select>
        <button type="button" class="button icon" aria-label="Later" onClick={() => setRange(range.fromMs + span / 2, range.toMs + span / 2)}>›</button>
        <button type="button" class="button icon" aria-label="Zoom out" onClick={() => setRange(range.fromMs - span / 2, range.toMs + span / 2)}>−</button>
      </span>
      <Moment label="From" text={state.from} ms={range.fromMs} isEnd={false} onChange={(from) => changeState({ from })} />
      <Moment label="To" text={state.to} ms={range.toMs} isEnd onChange={(to) => changeState({ to })} />
      <label>
        <span class="visually-hidden">Refresh</span>
        <select class="field" value={state.refresh} onChange={(event) => changeState({ refresh: event.currentTarget.value })}>
          <option value="">No refresh</option>
          {refreshes.map((every) => <option key={every} value={every}>Every {every}</option>)}
        </select>
      </label>
      <button type="button" class="button" onClick={refreshNow}>Refresh</button>
      <button type="button" class="button plain" onClick={() => download(dashboard)}>Export</button>
    </div>
  );
}

/** A moment as it is written in the address, or as a time. */
function Moment({ label, text, ms, isEnd, onChange }: { label: string; text: string; ms: number; isEnd: boolean; onChange: (text: string) => void }) {
  const written = isRelative(text) ? text : formatTime(ms, zone.value);
  const [draft, setDraft] = useState(written);
  useEffect(() => setDraft(written), [written]);
  const read = parseMoment(draft, Date.now(), isEnd);
  return (
    <input
      class="field"
      size={16}
      aria-label={label}
      title={`${label}: ${formatTime(ms, zone.value)}`}
      aria-invalid={read === null}
      value={draft}
      spellcheck={false}
      autocomplete="off"
      onInput={(event) => setDraft(event.currentTarget.value)}
      onChange={() => read !== null && onChange(isRelative(draft.trim()) ? draft.trim() : String(read))}
    />
  );
}

/** Saves the JSON as it was opened. */
function download(dashboard: Dashboard): void {
  const url = URL.createObjectURL(new Blob([JSON.stringify(dashboard.source, null, 2)], { type: 'application/json' }));
  const link = document.createElement('a');
  link.href = url;
  link.download = `${dashboard.title.replace(/[^\w.-]+/g, '-').toLowerCase() || 'dashboard'}.json`;
  link.click();
  URL.revokeObjectURL(url);
}
