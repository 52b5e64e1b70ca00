/** What discovery found, and what relabelling made of it. */
import { useState } from 'preact/hooks';
import { useApi } from '../api/use';
import { Empty, Loadable } from '../components/feedback';
import { Labels, Search, Segments } from '../components/parts';
import { formatCount, plural } from '../format/number';
import type { LabelMap } from '../format/series';
import { place, setParams } from '../router';
import { type ActiveTarget, Relabelled, StepByStep, matches } from './targets';

interface Discovered {
  activeTargets: ActiveTarget[];
  droppedTargets: { discoveredLabels: LabelMap; scrapePool: string }[];
  droppedTargetCounts: Record<string, number> | null;
}

interface Item {
  discoveredLabels: LabelMap;
  /** Null if relabelling dropped the target. */
  labels: LabelMap | null;
}

type State = '' | 'active' | 'dropped';

const PAGE_ROWS = 50;

export default function DiscoveryPage() {
  const loaded = useApi<Discovered>('targets', {}, 30_000);
  const { params } = place.value;
  const filter = params.get('search') ?? '';
  const state = (params.get('state') ?? '') as State;
  return (
    <>
      <div class="page-head">
        <h1>Service discovery</h1>
        <Search value={filter} onInput={(search) => setParams({ search })} label="Filter by label" />
        <Segments<State> label="State" value={state} options={[['', 'All'], ['active', 'Scraped'], ['dropped', 'Dropped']]} onChange={(state) => setParams({ state })} />
      </div>
      <Loadable of={loaded}>
        {({ activeTargets, droppedTargets, droppedTargetCounts }) => {
          const names = [...new Set([...activeTargets, ...droppedTargets].map(({ scrapePool }) => scrapePool).concat(Object.keys(droppedTargetCounts ?? {})))].sort();
          if (names.length === 0) return <div class="card"><Empty title="Nothing is discovered"><p>The section <code>scrape_configs</code> of the configuration has no targets, or its discovery found none.</p></Empty></div>;
          return (
            <div class="stack">
              {names.map((name) => {
                const active: Item[] = activeTargets.filter(({ scrapePool }) => scrapePool === name);
                const dropped: Item[] = droppedTargets.filter(({ scrapePool }) => scrapePool === name).map((target) => ({ ...target, labels: null }));
                const all = [...(state === 'dropped' ? [] : active), ...(state === 'active' ? [] : dropped)];
                const found = all.filter(({ discoveredLabels, labels }) => matches({ discoveredLabels: { ...discoveredLabels, ...labels } }, filter));
                const droppedCount = Math.max(droppedTargetCounts?.[name] ?? 0, dropped.length);
                return <Pool key={name} name={name} active={active.length} dropped={droppedCount} omitted={droppedCount - dropped.length} found={found} />;
              })}
            </div>
          );
        }}
      </Loadable>
    </>
  );
}

function Pool({ name, active, dropped, omitted, found }: { name: string; active: number; dropped: number; omitted: number; found: Item[] }) {
  const [most, setMost] = useState(PAGE_ROWS);
  return (
    <details class="card pool" open={found.length <= PAGE_ROWS}>
      <summary>
        <h2>{name}</h2>
        <span class="badge good">{plural(active, 'target')} scraped</span>
        {dropped > 0 && <span class="badge">{formatCount(dropped)} dropped</span>}
      </summary>
      {found.length === 0 ? (
        <Empty title="No target matches" />
      ) : (
        <ul class="discovered">
          {found.slice(0, most).map((item, i) => (
            <li key={i}>
              <details>
                <summary>
                  <span class={`badge ${item.labels ? 'good' : ''}`}>{item.labels ? 'scraped' : 'dropped'}</span>{' '}
                  <Labels of={item.labels ?? pick(item.discoveredLabels)} />
                </summary>
                <Relabelled discovered={item.discoveredLabels} final={item.labels} />
                <StepByStep pool={name} discovered={item.discoveredLabels} />
              </details>
            </li>
          ))}
        </ul>
      )}
      {found.length > most && <div class="more"><button type="button" class="button" onClick={() => setMost(most + 200)}>Show more of {plural(found.length, 'target')}</button></div>}
      {omitted > 0 && <p class="muted more">{plural(omitted, 'dropped target')} not listed: the server keeps only some of them.</p>}
    </details>
  );
}

/** The labels by which a dropped target can be recognized. */
function pick(labels: LabelMap): LabelMap {
  const important = Object.entries(labels).filter(([name]) => ['__address__', 'job', 'instance'].includes(name));
  return Object.fromEntries(important.length > 0 ? important : Object.entries(labels).slice(0, 4));
}
