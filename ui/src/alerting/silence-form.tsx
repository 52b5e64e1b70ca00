/** Makes a silence or changes one, with the alerts that it would silence now. */
import { useEffect, useState } from 'preact/hooks';
import type { Failure } from '../api/client';
import { failureOf } from '../api/client';
import { Banner, FailureBanner } from '../components/feedback';
import { Labels } from '../components/parts';
import { formatDuration, parseDuration } from '../format/duration';
import { plural } from '../format/number';
import { formatTime, parseTime } from '../format/time';
import { author, zone } from '../settings';
import { type GettableAlert, type Matcher, type Silence, getFrom, saveSilence } from './api';
import { OPERATORS, type Operator, operatorOf, withOperator, writeMatcher } from './matchers';

const LENGTHS = ['30m', '1h', '2h', '4h', '8h', '1d', '1w'];
const TYPING_MS = 300;
const MAX_PREVIEW = 50;

const EMPTY: Matcher = { name: '', value: '', isEqual: true, isRegex: false };

export interface Draft {
  id?: string;
  matchers: Matcher[];
  startsAt: string;
  endsAt: string;
  comment: string;
}

/** A new silence that begins now. */
export const newDraft = (matchers: Matcher[]): Draft => ({ matchers: matchers.length > 0 ? matchers : [EMPTY], startsAt: '', endsAt: new Date(Date.now() + 2 * 3_600_000).toISOString(), comment: '' });

/** A silence as a draft. One that is over is made again from now on. */
export function draftOf(silence: Silence): Draft {
  const { id, matchers, startsAt, endsAt, comment, status } = silence;
  return status.state === 'expired' ? { ...newDraft(matchers), comment } : { id, matchers, startsAt, endsAt, comment };
}

export function SilenceForm({ draft, close }: { draft: Draft; close: (savedId: string | null) => void }) {
  const [matchers, setMatchers] = useState(draft.matchers);
  const [end, setEnd] = useState(formatTime(Date.parse(draft.endsAt), zone.value));
  const [comment, setComment] = useState(draft.comment);
  const [failure, setFailure] = useState<Failure | null>(null);
  const [isSaving, setSaving] = useState(false);
  const endMs = parseTime(end);
  const named = matchers.filter(({ name }) => name.trim() !== '');
  const problem =
    named.length === 0 ? 'Say which alerts are silenced: one matcher at least.'
    : endMs === null ? 'The end is not a time.'
    : endMs <= Date.now() ? 'The end is in the past.'
    : !author.value.trim() ? 'Say who silences them.'
    : !comment.trim() ? 'Say why they are silenced.'
    : '';
  const change = (at: number, changes: Partial<Matcher>) => setMatchers(matchers.map((matcher, i) => (i === at ? { ...matcher, ...changes } : matcher)));
  const save = () => {
    if (problem || endMs === null) return;
    setSaving(true);
    const startsAt = draft.startsAt && draft.id ? draft.startsAt : new Date().toISOString();
    saveSilence({ ...(draft.id ? { id: draft.id } : {}), matchers: named, startsAt, endsAt: new Date(endMs).toISOString(), createdBy: author.value.trim(), comment: comment.trim() }).then(close, (error) => {
      setSaving(false);
      setFailure(failureOf(error));
    });
  };
  return (
    <form class="stack" onSubmit={(event) => { event.preventDefault(); save(); }}>
      <fieldset class="silence-matchers">
        <legend>Alerts with all of these labels</legend>
        {matchers.map((matcher, i) => (
          <div class="row" key={i}>
            <input class="field" aria-label={`Label ${i + 1}`} placeholder="label" value={matcher.name} spellcheck={false} autocomplete="off" onInput={(event) => change(i, { name: event.currentTarget.value })} />
            <select class="field" aria-label={`Operator ${i + 1}`} value={operatorOf(matcher)} onChange={(event) => setMatchers(matchers.with(i, withOperator(matcher, event.currentTarget.value as Operator)))}>
              {OPERATORS.map((operator) => <option key={operator}>{operator}</option>)}
            </select>
            <input class="field silence-value" aria-label={`Value ${i + 1}`} placeholder="value" value={matcher.value} spellcheck={false} autocomplete="off" onInput={(event) => change(i, { value: event.currentTarget.value })} />
            <button type="button" class="button plain icon" aria-label={`Remove matcher ${i + 1}`} onClick={() => setMatchers(matchers.length > 1 ? matchers.toSpliced(i, 1) : [EMPTY])}>✕</button>
          </div>
        ))}
        <button type="button" class="button" onClick={() => setMatchers([...matchers, EMPTY])}>Add a matcher</button>
      </fieldset>
      <div class="row">
        <label class="row">Until <input class="field" size={20} value={end} aria-invalid={endMs === null} spellcheck={false} onInput={(event) => setEnd(event.currentTarget.value)} /></label>
        <label class="row">
          <span class="visually-hidden">Length from now</span>
          <select class="field" value="" onChange={(event) => setEnd(formatTime(Date.now() + (parseDuration(event.currentTarget.value) ?? 0)))}>
            <option value="" disabled>From now…</option>
            {LENGTHS.map((length) => <option key={length} value={length}>{formatDuration(parseDuration(length) ?? 0)} from now</option>)}
          </select>
        </label>
      </div>
      <div class="row">
        <label class="row">By <input class="field" value={author.value} onInput={(event) => { author.value = event.currentTarget.value; }} /></label>
        <label class="row silence-comment">Because <input class="field" value={comment} onInput={(event) => setComment(event.currentTarget.value)} /></label>
      </div>
      <Preview matchers={named} />
      {failure && <FailureBanner failure={failure} />}
      {problem && <Banner tone="info">{problem}</Banner>}
      <div class="row">
        <button type="submit" class="button primary" disabled={problem !== '' || isSaving}>{draft.id ? 'Change the silence' : 'Silence'}</button>
        <button type="button" class="button" onClick={() => close(null)}>Cancel</button>
      </div>
    </form>
  );
}

/** The alerts that the matchers would silence now. */
function Preview({ matchers }: { matchers: Matcher[] }) {
  const [alerts, setAlerts] = useState<GettableAlert[] | null>(null);
  const [problem, setProblem] = useState('');
  const written = matchers.map(writeMatcher);
  useEffect(() => {
    if (written.length === 0) {
      setAlerts(null);
      return;
    }
    const abort = new AbortController();
    const timer = setTimeout(() => {
      const params = new URLSearchParams(written.map((matcher) => ['filter', matcher]));
      getFrom<GettableAlert[]>(`alerts?${params}`, abort.signal).then(
        (found) => {
          setAlerts(found);
          setProblem('');
        },
        (error: Error) => abort.signal.aborted || setProblem(error.message),
      );
    }, TYPING_MS);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [written.join()]);
  if (problem) return <Banner tone="warn">{problem}</Banner>;
  if (!alerts) return null;
  return (
    <section class="silence-preview" aria-label="Alerts that would be silenced">
      <strong>{alerts.length === 0 ? 'No alert matches now.' : `${plural(alerts.length, 'alert')} would be silenced now:`}</strong>
      <ul>
        {alerts.slice(0, MAX_PREVIEW).map((alert) => <li key={alert.fingerprint}><Labels of={alert.labels} /></li>)}
      </ul>
      {alerts.length > MAX_PREVIEW && <p class="muted">and {alerts.length - MAX_PREVIEW} more</p>}
    </section>
  );
}
