/** The cluster: its problems with advice, members, shards as a grid, and what is on the move. */
import { useState } from 'preact/hooks';
import { useApi } from '../api/use';
import { Banner, Empty, Loadable } from '../components/feedback';
import { Ago } from '../components/parts';
import { seriesColor } from '../chart/colors';
import { formatBytes, formatCount, plural } from '../format/number';
import { formatTime } from '../format/time';

interface Member {
  node: string;
  state: 'joining' | 'active' | 'draining' | 'down' | 'removed';
  sinceMs: number;
  draining: boolean;
  roles: string[];
  zone: string;
  version: string;
  weight: number;
  address: string;
  httpAddress: string;
  replicas: number;
  leads: number;
}

interface Shard {
  shard: number;
  epoch: number;
  leader: string | null;
  replicas: string[];
  inSync: string[];
  lagging: string[];
}

interface Learning {
  shard: number;
  node: string;
  since: number;
  copied: { samples: number; bytes: number } | null;
}

interface TenantBlocks {
  blocks: number;
  deltas: number;
  bytes: number;
  samples: number;
  boundaryMs: number | null;
  deletions: number;
}

interface Cluster {
  cluster: string;
  node: string;
  version: number;
  replicationFactor: number;
  minInSync: number;
  meta: { leader: string | null; voters: string[]; term: number };
  members: Member[];
  shards: Shard[];
  learning: Learning[];
  moves: number;
  scraping: { epoch: number; agents: string[] };
  catalogue: { blocks: number; bytes: number; tenants: Record<string, TenantBlocks> };
  leases: Record<string, string>;
  problems: { severity: 'critical' | 'warning' | 'note'; what: string; advice: string }[];
}

const MEMBER_TONES = { active: 'good', joining: 'info', draining: 'warn', down: 'bad', removed: '' } as const;
const PROBLEM_TONES = { critical: 'bad', warning: 'warn', note: 'info' } as const;

export default function ClusterPage() {
  const loaded = useApi<Cluster>('cluster', {}, 3000);
  return (
    <>
      <div class="page-head">
        <h1>Cluster</h1>
        {loaded.answer && <span class="muted">as of <Ago at={loaded.at} />, as this node knows it</span>}
      </div>
      <Loadable of={loaded}>{(cluster) => <Overview cluster={cluster} />}</Loadable>
    </>
  );
}

/** The end of an identity tells nodes apart that started at the same time. */
const short = (node: string): string => (node.length > 12 ? `…${node.slice(-8)}` : node);

function Overview({ cluster }: { cluster: Cluster }) {
  const [selected, setSelected] = useState(-1);
  const members = cluster.members.filter(({ state }) => state !== 'removed');
  const inSync = cluster.shards.filter(({ inSync, lagging }) => inSync.length > 0 && lagging.length === 0).length;
  const shard = cluster.shards.find(({ shard }) => shard === selected);
  return (
    <div class="stack">
      {cluster.problems.length === 0 && <Banner tone="good">No problem is known. {plural(inSync, 'shard is', 'shards are')} in sync on all replicas.</Banner>}
      {cluster.problems.map(({ severity, what, advice }) => (
        <Banner tone={PROBLEM_TONES[severity]} key={what}>
          <strong>{severity}: {what}</strong>
          <p>{advice}</p>
        </Banner>
      ))}
      <div class="tiles">
        <Tile name="Members" value={`${members.filter(({ state }) => state === 'active').length} of ${members.length} active`} />
        <Tile name="Shards in sync" value={`${inSync} of ${cluster.shards.length}`} />
        <Tile name="Replicas of each shard" value={`${cluster.replicationFactor}, ${cluster.minInSync} for a write`} />
        <Tile name="Changes that are due" value={formatCount(cluster.moves)} />
        <Tile name="Blocks" value={`${formatCount(cluster.catalogue.blocks)} · ${formatBytes(cluster.catalogue.bytes)}`} />
      </div>
      <Members cluster={cluster} />
      <section class="card">
        <header>
          <h2>Shards</h2>
          <span class="muted">Coloured by leader. Striped: a replica is catching up. Crossed: no replica is in sync. Choose one for details.</span>
        </header>
        <div class="body stack">
          <div class="shards">
            {cluster.shards.map((shard) => <ShardCell key={shard.shard} shard={shard} members={cluster.members} isSelected={shard.shard === selected} select={() => setSelected(shard.shard === selected ? -1 : shard.shard)} />)}
          </div>
          <div class="row shard-legend">
            {cluster.members.map(({ node, leads }, i) => leads > 0 && (
              <span key={node}><i class="swatch" style={{ background: seriesColor(i) }} /><span class="mono" title={node}>{short(node)}</span> leads {leads}</span>
            ))}
          </div>
          {shard && (
            <dl class="facts">
              <dt>Shard</dt><dd>{shard.shard}, epoch {shard.epoch}</dd>
              <dt>Leader</dt><dd class="mono">{shard.leader ?? 'none'}</dd>
              <dt>In sync</dt><dd class="mono">{shard.inSync.join(', ') || 'none'}</dd>
              <dt>Catching up</dt><dd class="mono">{shard.lagging.join(', ') || 'none'}</dd>
            </dl>
          )}
        </div>
      </section>
      {cluster.learning.length > 0 && <Learners learning={cluster.learning} />}
      <Tenants tenants={cluster.catalogue.tenants} />
    </div>
  );
}

function Tile({ name, value }: { name: string; value: string }) {
  return <div class="card tile"><span class="muted">{name}</span><strong>{value}</strong></div>;
}

function ShardCell({ shard, members, isSelected, select }: { shard: Shard; members: Member[]; isSelected: boolean; select: () => void }) {
  const state = shard.inSync.length === 0 ? 'lost' : shard.lagging.length > 0 ? 'lagging' : 'whole';
  const texts = { lost: 'no replica is in sync', lagging: `${plural(shard.lagging.length, 'replica')} catching up`, whole: 'in sync' };
  const leader = members.findIndex(({ node }) => node === shard.leader);
  return (
    <button
      type="button"
      class={`shard ${state}`}
      aria-pressed={isSelected}
      aria-label={`Shard ${shard.shard}: ${texts[state]}`}
      title={`Shard ${shard.shard}: ${texts[state]}\nLeader: ${shard.leader ?? 'none'}`}
      style={{ '--shard': leader >= 0 ? seriesColor(leader) : 'var(--border-strong)' }}
      onClick={select}
    >
      {shard.shard}
    </button>
  );
}

function Members({ cluster }: { cluster: Cluster }) {
  return (
    <section class="card">
      <header><h2>Members</h2></header>
      <div class="scroll">
        <table class="grid narrow">
          <thead><tr><th>Node</th><th>State</th><th>Roles</th><th>Zone</th><th>Version</th><th>Addresses</th><th class="number">Replicas</th><th class="number">Leads</th></tr></thead>
          <tbody>
            {cluster.members.map((member) => (
              <tr key={member.node}>
                <td class="mono">
                  {member.node}
                  {member.node === cluster.node && <div class="muted">answers this page</div>}
                  {member.node === cluster.meta.leader && <div class="muted">leads meta</div>}
                </td>
                <td>
                  <span class={`badge ${MEMBER_TONES[member.state]}`}>{member.state}</span>
                  <div class="muted nowrap">changed <Ago at={member.sinceMs} /></div>
                  {member.draining && member.state !== 'removed' && <Drain node={member.node} />}
                </td>
                <td class="wrap">{member.roles.join(', ')}</td>
                <td>{member.zone || <span class="muted">none</span>}</td>
                <td>{member.version}</td>
                <td class="mono">{member.httpAddress}<div class="muted">{member.address}</div></td>
                <td class="number" title="Replicas">{member.replicas}</td>
                <td class="number" title="Shards that it leads">{member.leads}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

interface DrainStatus {
  done: boolean;
  waitsFor: string[];
  /** What somebody has to do before the drain continues. */
  stuck: string[];
}

/** How far a drain is. */
function Drain({ node }: { node: string }) {
  const { answer, failure } = useApi<DrainStatus>('cluster/drain', { node }, 3000);
  if (failure) return <div class="muted">The drain's progress is unknown: {failure.message}</div>;
  if (!answer) return null;
  const { data } = answer;
  if (data.done) return <div class="muted">The drain is done: the node can stop.</div>;
  return (
    <div class="muted">
      {data.waitsFor.map((text) => <p key={text}>Waits for: {text}</p>)}
      {data.stuck.map((text) => <p class="scrape-error" key={text}>{text}</p>)}
    </div>
  );
}

function Learners({ learning }: { learning: Learning[] }) {
  return (
    <section class="card">
      <header><h2>Replicas that are catching up</h2></header>
      <div class="scroll">
        <table class="grid">
          <thead><tr><th>Shard</th><th>Node</th><th class="number">Samples copied</th><th class="number">Bytes copied</th></tr></thead>
          <tbody>
            {learning.map(({ shard, node, copied }) => (
              <tr key={`${shard} ${node}`}>
                <td>{shard}</td>
                <td class="mono">{node}</td>
                <td class="number">{copied ? formatCount(copied.samples) : 'not reported'}</td>
                <td class="number">{copied ? formatBytes(copied.bytes) : ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

const MAX_TENANTS = 200;

function Tenants({ tenants }: { tenants: Record<string, TenantBlocks> }) {
  const rows = Object.entries(tenants).sort(([, a], [, b]) => b.bytes - a.bytes);
  return (
    <section class="card">
      <header><h2>Blocks by tenant</h2></header>
      {rows.length === 0 ? (
        <Empty title="No blocks yet"><p>Samples stay in memory and in the write-ahead log until their window ends, two hours by default.</p></Empty>
      ) : (
        <div class="scroll">
          <table class="grid">
            <thead><tr><th>Tenant</th><th class="number">Blocks</th><th class="number">Size</th><th class="number">Samples</th><th class="number">Deletions</th><th>In blocks until</th></tr></thead>
            <tbody>
              {rows.slice(0, MAX_TENANTS).map(([name, tenant]) => (
                <tr key={name}>
                  <td>{name}</td>
                  <td class="number">{formatCount(tenant.blocks)}{tenant.deltas > 0 && <span class="muted"> ({formatCount(tenant.deltas)} delta)</span>}</td>
                  <td class="number">{formatBytes(tenant.bytes)}</td>
                  <td class="number">{formatCount(tenant.samples)}</td>
                  <td class="number">{formatCount(tenant.deletions)}</td>
                  <td>{tenant.boundaryMs === null ? '–' : formatTime(tenant.boundaryMs)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          {rows.length > MAX_TENANTS && <p class="muted more">The {MAX_TENANTS} largest of {plural(rows.length, 'tenant')} are shown.</p>}
        </div>
      )}
    </section>
  );
}
