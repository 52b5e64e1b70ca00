/** The blocks in the object store: when their samples are from, and how large they are. */
import { useApi } from '../api/use';
import { Empty, Loadable } from '../components/feedback';
import { formatDuration } from '../format/duration';
import { formatBytes, formatCount, plural } from '../format/number';
import { formatTime } from '../format/time';

interface Block {
  ulid: string;
  minTime: number;
  maxTime: number;
  stats: { numSamples: number; numSeries: number };
  windowStart: number;
  windowEnd: number;
  bytes: number;
  delta: boolean;
  shards: number;
}

const MAX_ROWS = 500;

export interface Lane<T> {
  title: string;
  rows: T[][];
}

/** Packs blocks into rows in which none overlap, those of the same length of window together, the longest first. */
export function lanesOf<T extends { windowStart: number; windowEnd: number }>(blocks: T[]): Lane<T>[] {
  const lengths = [...new Set(blocks.map(({ windowStart, windowEnd }) => windowEnd - windowStart))].sort((a, b) => b - a);
  return lengths.map((length) => {
    const rows: T[][] = [];
    const own = blocks.filter(({ windowStart, windowEnd }) => windowEnd - windowStart === length).sort((a, b) => a.windowStart - b.windowStart);
    for (const block of own) {
      const free = rows.find((row) => (row.at(-1)?.windowEnd ?? -Infinity) <= block.windowStart);
      if (free) free.push(block);
      else rows.push([block]);
    }
    return { title: formatDuration(length), rows };
  });
}

export default function BlocksPage() {
  const loaded = useApi<{ blocks: Block[] }>('status/tsdb/blocks', {}, 30_000);
  return (
    <>
      <div class="page-head"><h1>Blocks</h1></div>
      <Loadable of={loaded}>
        {({ blocks }) => {
          if (blocks.length === 0) {
            return <div class="card"><Empty title="No blocks yet"><p>Samples become a block once their window has ended and settled. Until then they are in memory and in the write-ahead log.</p></Empty></div>;
          }
          const sum = (value: (block: Block) => number) => blocks.reduce((total, block) => total + value(block), 0);
          return (
            <div class="stack">
              <div class="tiles">
                <Tile name="Blocks" value={formatCount(blocks.length)} />
                <Tile name="Size" value={formatBytes(sum(({ bytes }) => bytes))} />
                <Tile name="Samples" value={formatCount(sum(({ stats }) => stats.numSamples))} />
                <Tile name="Bytes per sample" value={(sum(({ bytes }) => bytes) / Math.max(1, sum(({ stats }) => stats.numSamples))).toFixed(2)} />
                <Tile name="Since" value={formatTime(Math.min(...blocks.map(({ minTime }) => minTime)))} />
              </div>
              <Timeline blocks={blocks} />
              <List blocks={blocks} />
            </div>
          );
        }}
      </Loadable>
    </>
  );
}

function Tile({ name, value }: { name: string; value: string }) {
  return <div class="card tile"><span class="muted">{name}</span><strong>{value}</strong></div>;
}

function Timeline({ blocks }: { blocks: Block[] }) {
  const start = Math.min(...blocks.map(({ windowStart }) => windowStart));
  const end = Math.max(...blocks.map(({ windowEnd }) => windowEnd));
  const largest = Math.max(1, ...blocks.map(({ bytes }) => bytes));
  const place = (ms: number) => (100 * (ms - start)) / Math.max(1, end - start);
  return (
    <section class="card">
      <header><h2>Timeline</h2><span class="muted">Darker blocks are larger. Striped ones hold late samples.</span></header>
      <div class="body block-lanes">
        {lanesOf(blocks).map(({ title, rows }) => (
          <div class="block-lane" key={title}>
            <span class="muted">{title}</span>
            <div>
              {rows.map((row, i) => (
                <div class="block-row" key={i}>
                  {row.map(({ ulid, windowStart, windowEnd, bytes, stats, delta }) => (
                    <i
                      key={ulid}
                      class={delta ? 'is-delta' : ''}
                      style={{ left: `${place(windowStart)}%`, width: `${place(windowEnd) - place(windowStart)}%`, opacity: 0.3 + 0.7 * Math.sqrt(bytes / largest) }}
                      title={`${ulid}\n${formatTime(windowStart)} to ${formatTime(windowEnd)}\n${formatBytes(bytes)}, ${formatCount(stats.numSamples)} samples of ${plural(stats.numSeries, 'series', 'series')}`}
                    />
                  ))}
                </div>
              ))}
            </div>
          </div>
        ))}
        <div class="row muted"><span>{formatTime(start)}</span><span class="spacer" /><span>{formatTime(end)}</span></div>
      </div>
    </section>
  );
}

function List({ blocks }: { blocks: Block[] }) {
  const sorted = blocks.toSorted((a, b) => b.windowStart - a.windowStart || (a.ulid < b.ulid ? -1 : 1));
  return (
    <section class="card">
      <header><h2>All blocks</h2></header>
      <div class="scroll">
        <table class="grid">
          <thead><tr><th>Block</th><th>Window</th><th>Kind</th><th class="number">Series</th><th class="number">Samples</th><th class="number">Size</th><th class="number">Shards</th></tr></thead>
          <tbody>
            {sorted.slice(0, MAX_ROWS).map(({ ulid, windowStart, windowEnd, delta, stats, bytes, shards }) => (
              <tr key={ulid}>
                <td class="mono">{ulid}</td>
                <td class="nowrap">{formatTime(windowStart)} · {formatDuration(windowEnd - windowStart)}</td>
                <td>{delta ? 'late samples' : 'main'}</td>
                <td class="number">{formatCount(stats.numSeries)}</td>
                <td class="number">{formatCount(stats.numSamples)}</td>
                <td class="number">{formatBytes(bytes)}</td>
                <td class="number">{shards}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {sorted.length > MAX_ROWS && <p class="muted more">and {plural(sorted.length - MAX_ROWS, 'older block')}</p>}
    </section>
  );
}
