/** The table of an instant query. */
import { useMemo, useState } from 'preact/hooks';
import { Empty } from '../components/feedback';
import { CopyButton, Search } from '../components/parts';
import { Rows } from '../components/rows';
import { formatCount, formatShort, parseValue, plural } from '../format/number';
import { formatSeries } from '../format/series';
import { formatExact } from '../format/time';
import type { Histogram, Row, Table } from './result';
import { SeriesName } from './series-name';

const ROW_HEIGHT = 29;
const FILTER_FROM = 12;

type Order = 'none' | 'up' | 'down';

export function TableView({ table }: { table: Table }) {
  const [filter, setFilter] = useState('');
  const [order, setOrder] = useState<Order>('none');
  const rows = useMemo(() => arrange(table.rows, filter, order), [table, filter, order]);
  if (table.rows.length === 0) return <NoSeries />;
  if (table.kind === 'scalar' || table.kind === 'string') {
    const [time = 0, value = ''] = table.rows[0]?.samples[0] ?? [];
    return (
      <div class="single">
        <span class="muted">{table.kind} at {formatExact(time * 1000)}</span> <strong>{String(value)}</strong>
      </div>
    );
  }
  const isPlain = table.rows.every(({ samples }) => samples.length === 1 && typeof samples[0]?.[1] === 'string');
  const next: Record<Order, Order> = { none: 'down', down: 'up', up: 'none' };
  return (
    <>
      <div class="row table-head">
        {table.rows.length >= FILTER_FROM && <Search value={filter} onInput={setFilter} label="Filter the series" />}
        <span class="muted">{rows.length === table.rows.length ? plural(rows.length, 'series', 'series') : `${formatCount(rows.length)} of ${plural(table.rows.length, 'series', 'series')}`}</span>
        <span class="spacer" />
        {isPlain && (
          <button type="button" class="button plain" onClick={() => setOrder(next[order])}>
            {{ none: 'Sort by value', down: 'Largest first ↓', up: 'Smallest first ↑' }[order]}
          </button>
        )}
        <CopyButton text={() => csv(rows)} label="Copy as CSV" />
      </div>
      {isPlain ? (
        <Rows
          count={rows.length}
          rowHeight={ROW_HEIGHT}
          maxHeight={ROW_HEIGHT * 22}
          label="Series and their values"
          row={(index) => {
            const row = rows[index];
            return row && (
              <div class="table-row" role="listitem" key={index}>
                <SeriesName labels={row.labels} />
                <strong class="number">{String(row.samples[0]?.[1])}</strong>
              </div>
            );
          }}
        />
      ) : (
        <Samples rows={rows} />
      )}
    </>
  );
}

function arrange(rows: Row[], filter: string, order: Order): Row[] {
  const wanted = filter.toLowerCase();
  const found = wanted ? rows.filter(({ labels }) => formatSeries(labels).toLowerCase().includes(wanted)) : rows.slice();
  if (order === 'none') return found;
  const value = (row: Row) => parseValue(String(row.samples[0]?.[1]));
  const sign = order === 'up' ? 1 : -1;
  // NaN is last in both orders.
  return found.sort((a, b) => Number(Number.isNaN(value(a))) - Number(Number.isNaN(value(b))) || sign * (value(a) - value(b)));
}

function csv(rows: Row[]): string {
  const cell = (text: string) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
  const lines = rows.flatMap(({ labels, samples }) =>
    samples.map(([time, value]) => [formatSeries(labels), String(time), typeof value === 'string' ? value : JSON.stringify(value)].map(cell).join(',')),
  );
  return ['series,timestamp,value', ...lines].join('\n');
}

export function NoSeries() {
  return (
    <Empty title="No series">
      <p>The query is valid, and nothing matches it at this time. Check names and matchers for typing errors, or choose another time.</p>
    </Empty>
  );
}

const MAX_SHOWN_ROWS = 200;
const MAX_SHOWN_SAMPLES = 100;

/** Range vectors and native histograms, which have more than one value. */
function Samples({ rows }: { rows: Row[] }) {
  return (
    <div class="scroll">
      <table class="grid">
        <thead><tr><th>Series</th><th>Samples</th></tr></thead>
        <tbody>
          {rows.slice(0, MAX_SHOWN_ROWS).map((row) => (
            <tr key={formatSeries(row.labels)}>
              <td class="wrap"><SeriesName labels={row.labels} /></td>
              <td>
                {row.samples.slice(0, MAX_SHOWN_SAMPLES).map(([time, value]) => (
                  <div key={time} class="mono">
                    {typeof value === 'string' ? <>{value} <span class="muted">@ {formatExact(time * 1000)}</span></> : <HistogramView histogram={value} />}
                  </div>
                ))}
                {row.samples.length > MAX_SHOWN_SAMPLES && <div class="muted">and {formatCount(row.samples.length - MAX_SHOWN_SAMPLES)} more samples</div>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > MAX_SHOWN_ROWS && <p class="muted table-more">{plural(rows.length - MAX_SHOWN_ROWS, 'more series', 'more series')} can be found with the filter.</p>}
    </div>
  );
}

function HistogramView({ histogram }: { histogram: Histogram }) {
  const buckets = histogram.buckets ?? [];
  const most = Math.max(...buckets.map(([, , , count]) => parseValue(count)), 0);
  const short = (text: string) => formatShort(parseValue(text));
  return (
    <details class="histogram" open={buckets.length <= 24}>
      <summary>count {histogram.count}, sum {short(histogram.sum)}, {plural(buckets.length, 'bucket')}</summary>
      {buckets.map(([rule, low, high, count]) => (
        <div class="histogram-row" key={`${low} ${high}`}>
          <span>{rule === 1 || rule === 3 ? '[' : '('}{short(low)}, {short(high)}{rule === 0 || rule === 3 ? ']' : ')'}</span>
          <span class="bar"><i style={{ width: `${most > 0 ? (100 * parseValue(count)) / most : 0}%` }} /></span>
          <span class="number">{short(count)}</span>
        </div>
      ))}
    </details>
  );
}
