/** Alerting rules with the alerts that are active. */
import { useState } from 'preact/hooks';
import { useApi } from '../api/use';
import { Banner, Empty, Loadable } from '../components/feedback';
import { RuleHistory } from '../alerting/history';
import { matchersOf, writeMatcher } from '../alerting/matchers';
import { Ago, Labels, PageLink, QueryLink, Search, Segments } from '../components/parts';
import { formatSeconds } from '../format/duration';
import { formatShort, parseValue, plural } from '../format/number';
import type { LabelMap } from '../format/series';
import { parseRfc3339 } from '../format/time';
import { place, setParams } from '../router';
import { type Alert, type AlertState, type Group, type Rule, type RulesData, STATE_TONES } from './rule-data';

const STATES: AlertState[] = ['firing', 'pending', 'inactive'];
const MAX_ALERTS = 100;

const stateOf = (rule: Rule): AlertState => rule.state ?? 'unknown';

export default function AlertsPage() {
  const loaded = useApi<RulesData>('rules', { type: 'alert' }, 10_000);
  const filter = place.value.params.get('search') ?? '';
  const state = place.value.params.get('state') ?? '';
  return (
    <>
      <div class="page-head">
        <h1>Alerts</h1>
        <Search value={filter} onInput={(search) => setParams({ search })} label="Filter by name or label" />
      </div>
      <Loadable of={loaded}>
        {({ groups }) => {
          const all = groups.flatMap(({ rules }) => rules);
          if (all.length === 0) return <NoRules />;
          const count = (state: AlertState) => all.filter((rule) => stateOf(rule) === state).length;
          const isShown = (rule: Rule) => (!state || stateOf(rule) === state) && matches(rule, filter);
          const shown = groups.map((group) => ({ group, rules: group.rules.filter(isShown) })).filter(({ rules }) => rules.length > 0);
          return (
            <div class="stack">
              <Segments<string>
                label="State"
                value={state}
                options={[['', `All ${all.length}`], ...STATES.map((state): [string, string] => [state, `${state[0]?.toUpperCase()}${state.slice(1)} ${count(state)}`])]}
                onChange={(state) => setParams({ state })}
              />
              {shown.length === 0 && <div class="card"><Empty title="No rule matches" /></div>}
              {shown.map(({ group, rules }) => <GroupCard key={`${group.file} ${group.name}`} group={group} rules={rules} />)}
            </div>
          );
        }}
      </Loadable>
    </>
  );
}

function NoRules() {
  return (
    <div class="card">
      <Empty title="No alerting rules">
        <p>This server evaluates none for this tenant. Rule files are named by <code>rule_files</code> in the configuration.</p>
      </Empty>
    </div>
  );
}

function matches(rule: Rule, filter: string): boolean {
  if (!filter) return true;
  const labels = [rule.labels ?? {}, ...(rule.alerts ?? []).map(({ labels }) => labels)];
  const text = [rule.name, ...labels.flatMap((labels) => Object.entries(labels).map(([name, value]) => `${name}="${value}"`))].join('\n').toLowerCase();
  return filter.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function GroupCard({ group, rules }: { group: Group; rules: Rule[] }) {
  return (
    <section class="card">
      <header>
        <h2>{group.name}</h2>
        <span class="muted mono">{group.file}</span>
      </header>
      <ul class="rules">
        {rules.map((rule, i) => <AlertingRule key={`${rule.name} ${i}`} rule={rule} />)}
      </ul>
    </section>
  );
}

function AlertingRule({ rule }: { rule: Rule }) {
  const alerts = rule.alerts ?? [];
  const state = stateOf(rule);
  const [isOpen, setOpen] = useState(state === 'firing');
  return (
    <li>
      <details open={isOpen} onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          <span class={`badge ${STATE_TONES[state]}`}>{state}</span>
          <strong>{rule.name}</strong>
          {alerts.length > 0 && <span class="muted">{plural(alerts.length, 'active alert')}</span>}
          {rule.health === 'err' && <span class="badge bad">the rule fails</span>}
        </summary>
        <div class="stack rule-body">
          {rule.lastError && <Banner tone="bad">{rule.lastError}</Banner>}
          <div class="rule-query">
            <code>{rule.query}</code>
            <QueryLink expr={rule.query} class="button">Open the query</QueryLink>
          </div>
          <p class="muted">
            {rule.duration ? `Fires when it holds for ${formatSeconds(rule.duration)}.` : 'Fires as soon as it holds.'}
            {rule.keepFiringFor ? ` Keeps firing for ${formatSeconds(rule.keepFiringFor)}.` : ''} Evaluated <Ago at={parseRfc3339(rule.lastEvaluation)} /> in {formatSeconds(rule.evaluationTime)}.
          </p>
          {isOpen && <RuleHistory name={rule.name} labels={rule.labels ?? {}} />}
          {Object.keys(rule.labels ?? {}).length > 0 && <Labels of={rule.labels ?? {}} />}
          <Annotations of={rule.annotations ?? {}} />
          {alerts.length > 0 && <ActiveAlerts alerts={alerts} />}
        </div>
      </details>
    </li>
  );
}

function Annotations({ of }: { of: LabelMap }) {
  const entries = Object.entries(of);
  if (entries.length === 0) return null;
  return <dl class="facts">{entries.map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}.`}><Linked text={value} /></dd>])}</dl>;
}

/** Text that becomes a link if all of it is an address of the web. */
function Linked({ text }: { text: string }) {
  if (!/^https?:\/\/\S+$/i.test(text)) return <>{text}</>;
  return <a href={text} target="_blank" rel="noopener noreferrer">{text}</a>;
}

function ActiveAlerts({ alerts }: { alerts: Alert[] }) {
  return (
    <div class="scroll">
      <table class="grid narrow">
        <thead><tr><th>State</th><th>Labels</th><th>Active since</th><th class="number">Value</th><th><span class="visually-hidden">Actions</span></th></tr></thead>
        <tbody>
          {alerts.slice(0, MAX_ALERTS).map((alert) => (
            <tr key={JSON.stringify(alert.labels)}>
              <td><span class={`badge ${STATE_TONES[alert.state]}`}>{alert.state}</span></td>
              <td>
                <Labels of={alert.labels} omit={['alertname']} />
                <Annotations of={alert.annotations} />
              </td>
              <td class="nowrap"><Ago at={parseRfc3339(alert.activeAt ?? '0001-')} /></td>
              <td class="number" title={alert.value}>{formatShort(parseValue(alert.value))}</td>
              <td><PageLink page="silences" class="button" params={{ new: matchersOf(alert.labels).map(writeMatcher).join(', ') }}>Silence</PageLink></td>
            </tr>
          ))}
        </tbody>
      </table>
      {alerts.length > MAX_ALERTS && <p class="muted more">{plural(alerts.length - MAX_ALERTS, 'more alert')}: narrow the rule's query to see them.</p>}
    </div>
  );
}
