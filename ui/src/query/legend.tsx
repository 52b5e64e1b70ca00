/** The series of a graph with statistics. A click shows one series alone; with Ctrl or ⌘ it hides or shows it. */
import { useMemo, useState } from 'preact/hooks';
import { seriesColor } from '../chart/colors';
import { Search } from '../components/parts';
import { Rows } from '../components/rows';
import { formatCount, formatShort, plural } from '../format/number';
import { commonLabels, formatSeries } from '../format/series';
import type { Line } from './result';
import { SeriesName } from './series-name';

const ROW_HEIGHT = 26;
const MAX_ROWS = 9;
const FILTER_FROM = 15;

interface Statistics {
  last: number;
  min: number;
  max: number;
  mean: number;
}

/** Statistics of the finite values of a line; NaN if it has none. */
export function statistics(values: Float64Array): Statistics {
  let [last, min, max, sum, count] = [NaN, Infinity, -Infinity, 0, 0];
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    last = value;
    if (value < min) min = value;
    if (value > max) max = value;
    sum += value;
    count++;
  }
  return count > 0 ? { last, min, max, mean: sum / count } : { last: NaN, min: NaN, max: NaN, mean: NaN };
}

const COLUMNS: [key: keyof Statistics, title: string][] = [['last', 'Last'], ['min', 'Min'], ['mean', 'Mean'], ['max', 'Max']];

export function Legend({ lines, hidden, setHidden, onFocus }: {
  lines: Line[];
  /** Numbers of the hidden lines. */
  hidden: ReadonlySet<number>;
  setHidden: (hidden: ReadonlySet<number>) => void;
  /** Called with the number of the line under the pointer, or -1. */
  onFocus: (line: number) => void;
}) {
  const [filter, setFilter] = useState('');
  const [order, setOrder] = useState<{ by: keyof Statistics; isUp: boolean } | null>(null);
  const figures = useMemo(() => lines.map(({ values }) => statistics(values)), [lines]);
  // Names are told apart by what differs. What all series have in common is said once.
  const common = useMemo(() => commonLabels(lines.map(({ labels }) => labels)), [lines]);
  const rows = useMemo(() => {
    const wanted = filter.toLowerCase();
    const numbers = [...lines.keys()].filter((i) => !wanted || formatSeries(lines[i]?.labels ?? {}).toLowerCase().includes(wanted));
    if (!order) return numbers;
    const value = (i: number) => figures[i]?.[order.by] ?? NaN;
    return numbers.sort((a, b) => Number(Number.isNaN(value(a))) - Number(Number.isNaN(value(b))) || (order.isUp ? 1 : -1) * (value(a) - value(b)));
  }, [lines, filter, order]);

  const toggle = (line: number, isOnlyThis: boolean) => {
    const next = new Set(hidden);
    if (isOnlyThis) {
      const isAlone = !hidden.has(line) && hidden.size === lines.length - 1;
      setHidden(isAlone ? new Set() : new Set([...lines.keys()].filter((other) => other !== line)));
      return;
    }
    if (!next.delete(line)) next.add(line);
    setHidden(next.size === lines.length ? new Set() : next);
  };
  const sortBy = (by: keyof Statistics) => setOrder(order?.by !== by ? { by, isUp: false } : order.isUp ? null : { by, isUp: true });

  return (
    <div class="legend" onMouseLeave={() => onFocus(-1)}>
      <div class="legend-head">
        <span class="row">
          {lines.length >= FILTER_FROM && <Search value={filter} onInput={setFilter} label="Filter the legend" />}
          <span class="muted">{plural(lines.length, 'series', 'series')}{hidden.size > 0 && `, ${formatCount(hidden.size)} hidden`}</span>
          {hidden.size > 0 && <button type="button" class="button plain" onClick={() => setHidden(new Set())}>Show all</button>}
        </span>
        {COLUMNS.map(([key, title]) => (
          <button type="button" class="sort" key={key} onClick={() => sortBy(key)} aria-label={`Sort by ${title.toLowerCase()}`}>
            {title}{order?.by === key && (order.isUp ? ' ↑' : ' ↓')}
          </button>
        ))}
      </div>
      {common.size > 0 && lines[0] && (
        <p class="legend-common muted">
          All have <SeriesName labels={Object.fromEntries(Object.entries(lines[0].labels).filter(([name]) => common.has(name)))} />
        </p>
      )}
      <Rows
        count={rows.length}
        rowHeight={ROW_HEIGHT}
        maxHeight={ROW_HEIGHT * MAX_ROWS}
        label="Legend"
        row={(at) => {
          const number = rows[at] ?? 0;
          const line = lines[number];
          const figure = figures[number];
          return line && figure && (
            <div class="legend-row" role="listitem" key={number} onMouseEnter={() => onFocus(number)}>
              <button
                type="button"
                aria-pressed={!hidden.has(number)}
                title={`${formatSeries(line.labels)}\nClick: only this series. Ctrl+click: hide or show it.`}
                onClick={(event) => toggle(number, !event.ctrlKey && !event.metaKey)}
              >
                <i class="swatch" style={{ background: seriesColor(number) }} />
                <SeriesName labels={line.labels} omit={common} />
              </button>
              {COLUMNS.map(([key]) => <span class="number" key={key}>{formatShort(figure[key])}</span>)}
            </div>
          );
        }}
      />
    </div>
  );
}
