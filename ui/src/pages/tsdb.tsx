/** Cardinality: which metrics, labels and values have the most series. */
import { useState } from 'preact/hooks';
import { useApi } from '../api/use';
import { Empty, Loadable } from '../components/feedback';
import { PageLink, QueryLink } from '../components/parts';
import { formatBytes, formatCount } from '../format/number';
import { formatTime } from '../format/time';
import { labelName, quote, selector } from '../format/series';

interface NameCount {
  name: string;
  value: number;
}

interface TsdbStatus {
  headStats: { numSeries: number; numLabelPairs: number; chunkCount: number; minTime: number; maxTime: number };
  seriesCountByMetricName: NameCount[];
  labelValueCountByLabelName: NameCount[];
  memoryInBytesByLabelName: NameCount[];
  seriesCountByLabelValuePair: NameCount[];
}

const LIMITS = [10, 25, 100, 500];

/** The selector of a pair `name=value`. */
function pairSelector(pair: string): string {
  const at = pair.indexOf('=');
  return `{${labelName(pair.slice(0, at))}=${quote(pair.slice(at + 1))}}`;
}

export default function TsdbPage() {
  const [limit, setLimit] = useState(10);
  const loaded = useApi<TsdbStatus>('status/tsdb', { limit: String(limit) });
  return (
    <>
      <div class="page-head">
        <h1>Cardinality</h1>
        <span class="spacer" />
        <label class="row">
          Rows
          <select class="field" value={String(limit)} onChange={(event) => setLimit(Number(event.currentTarget.value))}>
            {LIMITS.map((limit) => <option key={limit} value={String(limit)}>{limit}</option>)}
          </select>
        </label>
      </div>
      <Loadable of={loaded}>
        {(status) => {
          const { headStats: head } = status;
          if (head.numSeries === 0) return <Empty title="No series in memory"><p>Nothing has been scraped or received by this server yet, or only by other nodes of the cluster.</p></Empty>;
          return (
            <div class="stack">
              <div class="tiles">
                <Tile name="Series in memory" value={formatCount(head.numSeries)} />
                <Tile name="Pairs of labels and values" value={formatCount(head.numLabelPairs)} />
                <Tile name="Chunks" value={formatCount(head.chunkCount)} />
                <Tile name="Earliest sample in memory" value={formatTime(head.minTime)} />
                <Tile name="Latest sample" value={formatTime(head.maxTime)} />
              </div>
              <div class="columns">
                <Ranking title="Metrics with the most series" rows={status.seriesCountByMetricName} of={head.numSeries} link={(name) => <PageLink page="explore" params={{ metric: name }}>{name}</PageLink>} />
                <Ranking title="Pairs with the most series" rows={status.seriesCountByLabelValuePair} of={head.numSeries} link={(pair) => <QueryLink tab="table" expr={`topk(50, count by (__name__) (${pairSelector(pair)}))`}>{pair}</QueryLink>} />
                <Ranking title="Labels with the most values" rows={status.labelValueCountByLabelName} link={(name) => <QueryLink tab="table" expr={`topk(50, count by (${labelName(name)}) (${selector('', [`${labelName(name)}!=""`])}))`}>{name}</QueryLink>} />
                <Ranking title="Labels whose values take the most memory" rows={status.memoryInBytesByLabelName} format={formatBytes} link={(name) => name} />
              </div>
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

/** A list of names with bars. Bars show the share of `of`, or of the largest value. */
function Ranking({ title, rows, of, link, format = formatCount }: {
  title: string;
  rows: NameCount[];
  of?: number;
  link: (name: string) => preact.ComponentChildren;
  format?: (value: number) => string;
}) {
  const most = of ?? Math.max(1, ...rows.map(({ value }) => value));
  return (
    <section class="card">
      <header><h2>{title}</h2></header>
      <div class="body">
        <ul class="ranking">
          {rows.map(({ name, value }) => (
            <li key={name}>
              <span class="mono">{link(name)}</span>
              <span class="number">{format(value)}{of !== undefined && <span class="muted"> · {((100 * value) / most).toFixed(1)}%</span>}</span>
              <span class="bar"><i style={{ width: `${Math.min(100, (100 * value) / most)}%` }} /></span>
            </li>
          ))}
        </ul>
      </div>
    </section>
  );
}
