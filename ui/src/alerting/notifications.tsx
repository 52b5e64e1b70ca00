/** Alerts as they are notified: by group and receiver, and what became of the notifications. */
import './alerting.css';
import { useEffect, useState } from 'preact/hooks';
import { Banner, Empty, FailureBanner, Loading } from '../components/feedback';
import { Ago, Labels, PageLink, Search } from '../components/parts';
import { formatCount, plural } from '../format/number';
import { base, place, setParams } from '../router';
import { NoAlertmanager } from './absent';
import { type AlertGroup, type GettableAlert, useAlertmanager } from './api';
import { type Delivery, readDeliveries } from './deliveries';
import { matchersOf, writeMatcher } from './matchers';

const MAX_ALERTS = 50;

export default function NotificationsPage() {
  const groups = useAlertmanager<AlertGroup[]>('alerts/groups', 15_000);
  const deliveries = useDeliveries(groups.data !== null);
  const filter = place.value.params.get('search') ?? '';
  const wanted = filter.toLowerCase();
  const isShown = ({ labels, receiver, alerts }: AlertGroup) => `${receiver.name} ${JSON.stringify(labels)} ${alerts.map(({ labels }) => JSON.stringify(labels)).join(' ')}`.toLowerCase().includes(wanted);
  const shown = (groups.data ?? []).filter(isShown);
  return (
    <>
      <div class="page-head">
        <h1>Notifications</h1>
        <Search value={filter} onInput={(search) => setParams({ search })} label="Filter by receiver or label" />
      </div>
      {groups.failure?.kind === 'absent' ? <NoAlertmanager /> : groups.failure && <FailureBanner failure={groups.failure} retry={groups.reload} />}
      {!groups.data && !groups.failure && <Loading />}
      {groups.data && (
        <div class="stack">
          <Deliveries all={deliveries} />
          {shown.length === 0 && <div class="card"><Empty title={groups.data.length === 0 ? 'No alert fires' : 'No group matches'} /></div>}
          {shown.map((group) => <Group key={`${group.receiver.name} ${JSON.stringify(group.labels)}`} group={group} />)}
        </div>
      )}
    </>
  );
}

/** The counters of this process. They are read from its metrics, whether it scrapes itself or not. */
function useDeliveries(isWanted: boolean): Delivery[] {
  const [found, setFound] = useState<Delivery[]>([]);
  useEffect(() => {
    if (!isWanted) return;
    const abort = new AbortController();
    const load = () =>
      fetch(new URL(`${base}metrics`, location.href), { signal: abort.signal })
        .then((response) => (response.ok ? response.text() : ''))
        .then((text) => setFound(readDeliveries(text)))
        .catch(() => {});
    void load();
    const timer = setInterval(() => document.visibilityState === 'visible' && void load(), 15_000);
    return () => {
      abort.abort();
      clearInterval(timer);
    };
  }, [isWanted]);
  return found;
}

function Deliveries({ all }: { all: Delivery[] }) {
  if (all.length === 0) return null;
  const failing = all.filter(({ failed }) => failed > 0);
  return (
    <section class="card">
      <header><h2>Deliveries since the start of this process</h2></header>
      {failing.length > 0 && <div class="body"><Banner tone="warn">Notifications of {plural(failing.length, 'integration')} failed. The log of the process has each error.</Banner></div>}
      <div class="scroll">
        <table class="grid">
          <thead><tr><th>Receiver</th><th>Integration</th><th class="number">Tried</th><th class="number">Failed</th><th>Reasons</th></tr></thead>
          <tbody>
            {all.map(({ receiver, integration, sent, failed, reasons }) => (
              <tr key={`${receiver} ${integration}`}>
                <td>{receiver || '–'}</td>
                <td>{integration}</td>
                <td class="number">{formatCount(sent)}</td>
                <td class="number">{failed > 0 ? <span class="badge bad">{formatCount(failed)}</span> : '0'}</td>
                <td>{reasons.map(([reason, count]) => `${reason}: ${formatCount(count)}`).join(', ') || '–'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Group({ group: { labels, receiver, alerts } }: { group: AlertGroup }) {
  const hasLabels = Object.keys(labels).length > 0;
  const suppressed = alerts.filter(({ status }) => status.state === 'suppressed').length;
  return (
    <section class="card">
      <header>
        <h2>{receiver.name}</h2>
        {hasLabels ? <span>grouped by <Labels of={labels} /></span> : <span class="muted">not grouped</span>}
        <span class="muted">{plural(alerts.length, 'alert')}{suppressed > 0 && `, ${suppressed} suppressed`}</span>
        <span class="spacer" />
        {hasLabels && <PageLink page="silences" class="button" params={{ new: matchersOf(labels).map(writeMatcher).join(', ') }}>Silence the group</PageLink>}
      </header>
      <ul class="rules">
        {alerts.slice(0, MAX_ALERTS).map((alert) => <Alert key={alert.fingerprint} alert={alert} omit={Object.keys(labels)} />)}
      </ul>
      {alerts.length > MAX_ALERTS && <p class="muted more">and {alerts.length - MAX_ALERTS} more alerts</p>}
    </section>
  );
}

function Alert({ alert: { labels, annotations, startsAt, status, receivers }, omit }: { alert: GettableAlert; omit: string[] }) {
  const why = [status.silencedBy.length > 0 && 'silenced', status.inhibitedBy.length > 0 && 'inhibited by another alert', (status.mutedBy ?? []).length > 0 && `muted by ${(status.mutedBy ?? []).join(', ')}`].filter(Boolean);
  return (
    <li>
      <div class="row">
        <span class={`badge ${status.state === 'active' ? 'bad' : status.state === 'suppressed' ? 'warn' : ''}`}>{why.length > 0 ? why.join(', ') : status.state}</span>
        <Labels of={labels} omit={omit} />
        <span class="spacer" />
        <span class="muted"><Ago at={Date.parse(startsAt)} /></span>
        <PageLink page="silences" class="button" params={{ new: matchersOf(labels).map(writeMatcher).join(', ') }}>Silence</PageLink>
      </div>
      {annotations.summary && <p>{annotations.summary}</p>}
      {receivers.length > 1 && <p class="muted">Its routes lead to {receivers.map(({ name }) => name).join(', ')}.</p>}
    </li>
  );
}
