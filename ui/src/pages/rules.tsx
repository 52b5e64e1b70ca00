/** All rules, recording and alerting, by group. */
import { useApi } from '../api/use';
import { Banner, Empty, Loadable } from '../components/feedback';
import { Ago, Labels, PageLink, QueryLink, Search, Segments } from '../components/parts';
import { formatSeconds } from '../format/duration';
import { plural } from '../format/number';
import { parseRfc3339 } from '../format/time';
import { place, setParams } from '../router';
import { type Group, HEALTH_TONES, type Rule, type RulesData } from './rule-data';

export default function RulesPage() {
  const loaded = useApi<RulesData>('rules', {}, 10_000);
  const filter = place.value.params.get('search') ?? '';
  const health = place.value.params.get('health') ?? '';
  return (
    <>
      <div class="page-head">
        <h1>Rules</h1>
        <Search value={filter} onInput={(search) => setParams({ search })} label="Filter by name or query" />
        <Segments<string> label="Health" value={health} options={[['', 'All'], ['err', 'Failing'], ['ok', 'Healthy']]} onChange={(health) => setParams({ health })} />
      </div>
      <Loadable of={loaded}>
        {({ groups }) => {
          if (groups.length === 0) {
            return <div class="card"><Empty title="No rules"><p>This server evaluates none for this tenant. Rule files are named by <code>rule_files</code> in the configuration.</p></Empty></div>;
          }
          const wanted = filter.toLowerCase();
          const isShown = (rule: Rule) => (!health || rule.health === health) && `${rule.name} ${rule.query}`.toLowerCase().includes(wanted);
          const shown = groups.map((group) => ({ group, rules: group.rules.filter(isShown) })).filter(({ rules }) => rules.length > 0);
          return (
            <div class="stack">
              {shown.length === 0 && <div class="card"><Empty title="No rule matches" /></div>}
              {shown.map(({ group, rules }) => <GroupCard key={`${group.file} ${group.name}`} group={group} rules={rules} />)}
            </div>
          );
        }}
      </Loadable>
    </>
  );
}

function GroupCard({ group, rules }: { group: Group; rules: Rule[] }) {
  const failing = group.rules.filter(({ health }) => health === 'err').length;
  // A group that needs most of its interval will soon miss evaluations.
  const isSlow = group.evaluationTime > 0.8 * group.interval;
  return (
    <section class="card">
      <header>
        <h2>{group.name}</h2>
        <span class="muted mono">{group.file}</span>
        {failing > 0 && <span class="badge bad">{plural(failing, 'rule fails', 'rules fail')}</span>}
        {isSlow && <span class="badge warn">slow</span>}
        <span class="muted">every {formatSeconds(group.interval)}, last <Ago at={parseRfc3339(group.lastEvaluation)} />, took {formatSeconds(group.evaluationTime)}</span>
      </header>
      <ul class="rules">
        {rules.map((rule, i) => (
          <li key={`${rule.name} ${i}`}>
            <div class="row">
              <span class={`badge ${HEALTH_TONES[rule.health]}`}>{rule.health === 'err' ? 'failing' : rule.health}</span>
              <span class="badge">{rule.type}</span>
              {rule.type === 'alerting' ? <PageLink page="alerts" params={{ search: rule.name }}>{rule.name}</PageLink> : <QueryLink expr={rule.name}>{rule.name}</QueryLink>}
              <span class="muted"><Ago at={parseRfc3339(rule.lastEvaluation)} /> in {formatSeconds(rule.evaluationTime)}</span>
            </div>
            {rule.lastError && <Banner tone="bad">{rule.lastError}</Banner>}
            <div class="rule-query">
              <code>{rule.query}</code>
              <QueryLink expr={rule.query} class="button">Open the query</QueryLink>
            </div>
            {Object.keys(rule.labels ?? {}).length > 0 && <Labels of={rule.labels ?? {}} />}
          </li>
        ))}
      </ul>
    </section>
  );
}
