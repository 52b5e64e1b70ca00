/** When a rule's alerts were pending and firing, as a strip of the last day. */
import './alerting.css';
import { useEffect, useState } from 'preact/hooks';
import { get } from '../api/client';
import { parseValue } from '../format/number';
import { type LabelMap, labelName, quote } from '../format/series';
import { formatTime } from '../format/time';

const SPAN_SECONDS = 86_400;
const STEP_SECONDS = 300;

interface Matrix { result: { metric: LabelMap; values?: [number, string][] }[] }

export interface Span {
  state: 'firing' | 'pending';
  /** Seconds since the epoch. */
  from: number;
  to: number;
}

/** Joins steps in which a state holds. Firing covers pending. */
export function spansOf(firing: Set<number>, pending: Set<number>, start: number, steps: number, step: number): Span[] {
  const spans: Span[] = [];
  for (let i = 0; i < steps; i++) {
    const at = start + i * step;
    const state = firing.has(at) ? 'firing' : pending.has(at) ? 'pending' : null;
    const last = spans.at(-1);
    if (!state) continue;
    if (last?.state === state && last.to === at) last.to = at + step;
    else spans.push({ state, from: at, to: at + step });
  }
  return spans;
}

export function RuleHistory({ name, labels }: { name: string; labels: LabelMap }) {
  const [spans, setSpans] = useState<Span[] | null>(null);
  // The last step covers now.
  const end = Math.ceil(Date.now() / 1000 / STEP_SECONDS) * STEP_SECONDS;
  const [range] = useState({ start: end - SPAN_SECONDS, end });
  useEffect(() => {
    const abort = new AbortController();
    // Labels with templates differ from alert to alert.
    const fixed = Object.entries(labels).filter(([, value]) => !value.includes('{{')).map(([label, value]) => `${labelName(label)}=${quote(value)}`);
    const query = `max by (alertstate) (max_over_time(ALERTS{${[`alertname=${quote(name)}`, ...fixed].join(',')}}[${STEP_SECONDS}s]))`;
    get<Matrix>('query_range', { query, start: String(range.start), end: String(range.end), step: String(STEP_SECONDS) }, abort.signal).then(
      ({ data }) => {
        const steps = (state: string) => new Set(data.result.filter(({ metric }) => metric.alertstate === state).flatMap(({ values = [] }) => values.filter(([, value]) => parseValue(value) > 0).map(([time]) => time)));
        setSpans(spansOf(steps('firing'), steps('pending'), range.start, SPAN_SECONDS / STEP_SECONDS + 1, STEP_SECONDS));
      },
      () => {},
    );
    return () => abort.abort();
  }, [name]);
  if (!spans) return <div class="history-strip" />;
  const place = (seconds: number) => (100 * (seconds - range.start)) / (SPAN_SECONDS + STEP_SECONDS);
  const text = spans.length === 0 ? 'It was inactive all day.' : spans.map(({ state, from, to }) => `${state} from ${formatTime(from * 1000)} to ${formatTime(to * 1000)}`).join(', ');
  return (
    <div>
      <div class="history-strip" role="img" aria-label={`The last 24 hours: ${text}`} title={spans.length === 0 ? text : undefined}>
        {spans.map(({ state, from, to }) => <i key={from} class={state} style={{ left: `${place(from)}%`, width: `${place(to) - place(from)}%` }} title={`${state} from ${formatTime(from * 1000)} to ${formatTime(to * 1000)}`} />)}
      </div>
      <div class="row muted history-ends"><span>24 hours ago</span><span class="spacer" /><span>now</span></div>
    </div>
  );
}
