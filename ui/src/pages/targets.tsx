/** The targets that are scraped, by scrape pool, with what went wrong. */
import { useState } from 'preact/hooks';
import { useApi } from '../api/use';
import { Empty, Loadable } from '../components/feedback';
import { Ago, Labels, QueryLink, Search, Segments } from '../components/parts';
import { formatSeconds } from '../format/duration';
import { plural } from '../format/number';
import { type LabelMap, selector, labelName, quote } from '../format/series';
import { parseRfc3339 } from '../format/time';
import { place, setParams } from '../router';
import { RelabelSteps } from './relabel-steps';

export interface ActiveTarget {
  discoveredLabels: LabelMap;
  labels: LabelMap;
  scrapePool: string;
  scrapeUrl: string;
  globalUrl: string;
  lastError: string;
  lastScrape: string;
  lastScrapeDuration: number;
  health: 'up' | 'down' | 'unknown';
  scrapeInterval: string;
  scrapeTimeout: string;
}

interface Targets {
  activeTargets: ActiveTarget[];
}

type Health = '' | 'up' | 'down' | 'unknown';

const TONES = { up: 'good', down: 'bad', unknown: '' } as const;
const PAGE_ROWS = 50;

export default function TargetsPage() {
  const loaded = useApi<Targets>('targets', { state: 'active' }, 10_000);
  const { params } = place.value;
  const filter = params.get('search') ?? '';
  const health = (params.get('health') ?? '') as Health;
  const pool = params.get('pool') ?? '';
  return (
    <>
      <div class="page-head">
        <h1>Targets</h1>
        <Search value={filter} onInput={(search) => setParams({ search })} label="Filter by address, label or error" />
        <Segments<Health>
          label="Health"
          value={health}
          options={[['', 'All'], ['down', 'Down'], ['up', 'Up'], ['unknown', 'Not scraped yet']]}
          onChange={(health) => setParams({ health })}
        />
      </div>
      <Loadable of={loaded}>
        {({ activeTargets }) => {
          const pools = Map.groupBy(activeTargets, (target) => target.scrapePool);
          if (pools.size === 0) {
            return <div class="card"><Empty title="No targets"><p>The section <code>scrape_configs</code> of the configuration names no target, or its discovery found none. Relabelling may also have dropped all of them: see the page Service discovery.</p></Empty></div>;
          }
          const matching = (targets: ActiveTarget[]) => targets.filter((target) => (!health || target.health === health) && matches(target, filter));
          const shown = [...pools].map(([name, all]) => ({ name, all, found: matching(all) })).filter(({ name, found }) => found.length > 0 && (!pool || name === pool));
          return (
            <div class="stack">
              <label class="row">
                Scrape pool
                <select class="field" value={pool} onChange={(event) => setParams({ pool: event.currentTarget.value })}>
                  <option value="">All {pools.size}</option>
                  {[...pools.keys()].sort().map((name) => <option key={name} value={name}>{name}</option>)}
                </select>
              </label>
              {shown.length === 0 && <div class="card"><Empty title="No target matches" /></div>}
              {shown.map((pool) => <Pool key={pool.name} {...pool} />)}
            </div>
          );
        }}
      </Loadable>
    </>
  );
}

export function matches(target: { discoveredLabels: LabelMap; labels?: LabelMap; scrapeUrl?: string; lastError?: string }, filter: string): boolean {
  if (!filter) return true;
  const text = [target.scrapeUrl ?? '', target.lastError ?? '', ...Object.entries(target.labels ?? target.discoveredLabels).map(([name, value]) => `${name}="${value}"`)].join('\n');
  return filter.toLowerCase().split(/\s+/).every((word) => text.toLowerCase().includes(word));
}

function Pool({ name, all, found }: { name: string; all: ActiveTarget[]; found: ActiveTarget[] }) {
  const [most, setMost] = useState(PAGE_ROWS);
  const up = all.filter(({ health }) => health === 'up').length;
  const down = all.filter(({ health }) => health === 'down').length;
  // What is broken comes first.
  const order = { down: 0, unknown: 1, up: 2 };
  const sorted = found.toSorted((a, b) => order[a.health] - order[b.health] || (a.scrapeUrl < b.scrapeUrl ? -1 : 1));
  return (
    <details class="card pool" open>
      <summary>
        <h2>{name}</h2>
        <span class={`badge ${down > 0 ? 'bad' : up === all.length ? 'good' : ''}`}>{up} of {all.length} up</span>
        {found.length < all.length && <span class="muted">{plural(found.length, 'match', 'matches')}</span>}
      </summary>
      <div class="scroll">
        <table class="grid targets narrow">
          <thead><tr><th>Target</th><th>Health</th><th>Labels</th><th>Last scrape</th></tr></thead>
          <tbody>{sorted.slice(0, most).map((target) => <Target key={`${target.scrapeUrl} ${JSON.stringify(target.labels)}`} target={target} />)}</tbody>
        </table>
      </div>
      {sorted.length > most && <div class="more"><button type="button" class="button" onClick={() => setMost(most + 200)}>Show more of {plural(sorted.length, 'target')}</button></div>}
    </details>
  );
}

/** Only addresses of the web become links. */
const webAddress = (text: string): string | undefined => (/^https?:\/\//i.test(text) ? text : undefined);

function Target({ target }: { target: ActiveTarget }) {
  const own = Object.entries(target.labels).map(([name, value]) => `${labelName(name)}=${quote(value)}`);
  return (
    <tr>
      <td class="wrap">
        <a href={webAddress(target.globalUrl)} target="_blank" rel="noopener noreferrer" class="mono">{target.scrapeUrl}</a>
        {target.lastError && <p class="scrape-error">{target.lastError}</p>}
        <details class="relabelled">
          <summary class="muted">From discovered to final labels</summary>
          <Relabelled discovered={target.discoveredLabels} final={target.labels} />
        </details>
        <StepByStep pool={target.scrapePool} discovered={target.discoveredLabels} />
      </td>
      <td><span class={`badge ${TONES[target.health]}`}>{target.health}</span></td>
      <td><Labels of={target.labels} /></td>
      <td class="nowrap">
        <Ago at={parseRfc3339(target.lastScrape)} />
        <div class="muted">took {formatSeconds(target.lastScrapeDuration)}, every {target.scrapeInterval}</div>
        <QueryLink expr={selector('up', own)}>History</QueryLink>
      </td>
    </tr>
  );
}

/** Relabelling rule by rule, which the server is asked for once somebody wants to see it. */
export function StepByStep({ pool, discovered }: { pool: string; discovered: LabelMap }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details class="relabelled" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary class="muted">Relabelling step by step</summary>
      {isOpen && <RelabelSteps pool={pool} discovered={discovered} />}
    </details>
  );
}

/** The labels before and after relabelling, side by side. Removed and changed ones stand out. */
export function Relabelled({ discovered, final }: { discovered: LabelMap; final: LabelMap | null }) {
  const names = [...new Set([...Object.keys(discovered), ...Object.keys(final ?? {})])].sort();
  return (
    <table class="grid compact">
      <thead><tr><th>Label</th><th>Discovered</th><th>Final</th></tr></thead>
      <tbody>
        {names.map((name) => (
          <tr key={name}>
            <td class="mono">{name}</td>
            <td class="wrap">{discovered[name] ?? ''}</td>
            <td class="wrap">
              {final === null ? <span class="muted">dropped</span> : final[name] === discovered[name] ? <span class="muted">the same</span> : final[name] === undefined ? <span class="muted">removed</span> : <strong>{final[name]}</strong>}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
