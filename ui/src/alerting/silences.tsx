/** Silences: those in force, to come and over; making, changing and ending them. */
import './alerting.css';
import { useState } from 'preact/hooks';
import { type Failure, failureOf } from '../api/client';
import { Empty, FailureBanner, Loading } from '../components/feedback';
import { Ago, Dialog, Search, Segments } from '../components/parts';
import { formatTime } from '../format/time';
import { place, setParams } from '../router';
import { NoAlertmanager } from './absent';
import { type GettableAlert, type Silence, expireSilence, useAlertmanager } from './api';
import { readMatchers, writeMatcher } from './matchers';
import { type Draft, SilenceForm, draftOf, newDraft } from './silence-form';

type State = Silence['status']['state'];

const TONES: Record<State, string> = { active: 'good', pending: 'warn', expired: '' };

export default function SilencesPage() {
  const silences = useAlertmanager<Silence[]>('silences', 15_000);
  const alerts = useAlertmanager<GettableAlert[]>(silences.data ? 'alerts?active=false&inhibited=false' : null, 15_000);
  const params = place.value.params;
  const state = (params.get('state') ?? 'active') as State;
  const filter = params.get('search') ?? '';
  const asked = params.get('new');
  const [draft, setDraft] = useState<Draft | null>(() => (asked === null ? null : newDraft(readMatchers(asked) ?? [])));
  const [failure, setFailure] = useState<Failure | null>(null);
  const close = (savedId: string | null) => {
    setDraft(null);
    setParams({ new: '' });
    if (savedId) silences.reload();
  };
  const expire = (id: string) => expireSilence(id).then(silences.reload, (error) => setFailure(failureOf(error)));
  const matching = (silences.data ?? []).filter(({ matchers, comment, createdBy }) => `${matchers.map(writeMatcher).join(' ')} ${comment} ${createdBy}`.toLowerCase().includes(filter.toLowerCase()));
  const shown = matching.filter(({ status }) => status.state === state).sort((a, b) => (a.endsAt < b.endsAt ? -1 : 1) * (state === 'expired' ? -1 : 1));
  const count = (state: State) => matching.filter(({ status }) => status.state === state).length;
  return (
    <>
      <div class="page-head">
        <h1>Silences</h1>
        <Search value={filter} onInput={(search) => setParams({ search })} label="Filter by matcher, comment or author" />
        <span class="spacer" />
        {silences.data && <button type="button" class="button primary" onClick={() => setDraft(newDraft([]))}>New silence</button>}
      </div>
      {silences.failure?.kind === 'absent' ? <NoAlertmanager /> : silences.failure && <FailureBanner failure={silences.failure} retry={silences.reload} />}
      {failure && <FailureBanner failure={failure} />}
      {!silences.data && !silences.failure && <Loading />}
      {silences.data && (
        <div class="stack">
          <Segments<State> label="State" value={state} options={[['active', `Active ${count('active')}`], ['pending', `Pending ${count('pending')}`], ['expired', `Expired ${count('expired')}`]]} onChange={(state) => setParams({ state })} />
          {shown.length === 0 ? (
            <div class="card"><Empty title={{ active: 'Nothing is silenced', pending: 'No silence is to come', expired: 'No silence has ended lately' }[state]} /></div>
          ) : (
            <ul class="card rules">
              {shown.map((silence) => (
                <Row key={silence.id} silence={silence} silenced={(alerts.data ?? []).filter(({ status }) => status.silencedBy.includes(silence.id)).length} edit={() => setDraft(draftOf(silence))} expire={() => expire(silence.id)} />
              ))}
            </ul>
          )}
        </div>
      )}
      {draft && <Dialog title={draft.id ? 'Change a silence' : 'New silence'} onClose={() => close(null)}><SilenceForm draft={draft} close={close} /></Dialog>}
    </>
  );
}

function Row({ silence: { status, matchers, comment, createdBy, startsAt, endsAt }, silenced, edit, expire }: { silence: Silence; silenced: number; edit: () => void; expire: () => void }) {
  const [isAsking, setAsking] = useState(false);
  const isOver = status.state === 'expired';
  return (
    <li>
      <div class="row">
        <span class={`badge ${TONES[status.state]}`}>{status.state}</span>
        <span class="labels">{matchers.map((matcher) => <span class="label" key={writeMatcher(matcher)}>{writeMatcher(matcher)}</span>)}</span>
        <span class="spacer" />
        <button type="button" class="button" onClick={edit}>{isOver ? 'Make again' : 'Edit'}</button>
        {!isOver && (isAsking ? (
          <>
            <button type="button" class="button danger" onClick={expire}>Yes, expire it</button>
            <button type="button" class="button" onClick={() => setAsking(false)}>Keep it</button>
          </>
        ) : (
          <button type="button" class="button" onClick={() => setAsking(true)}>Expire</button>
        ))}
      </div>
      <p>{comment}</p>
      <p class="muted">
        By {createdBy}, {status.state === 'pending' ? `from ${formatTime(Date.parse(startsAt))} ` : ''}until {formatTime(Date.parse(endsAt))}{isOver && <> (<Ago at={Date.parse(endsAt)} />)</>}
        {status.state === 'active' && `, silences ${silenced} ${silenced === 1 ? 'alert' : 'alerts'} now`}
      </p>
    </li>
  );
}
