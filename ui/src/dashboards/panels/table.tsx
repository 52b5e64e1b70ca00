/** Fields as the columns of a table. */
import { useMemo, useState } from 'preact/hooks';
import { plural } from '../../format/number';
import { display } from '../data/display';
import { shownText } from '../data/units';
import { type Field, type Frame, frameOf, nameOf, newField, isSeries } from '../data/frame';
import { merge, sortBy } from '../data/transform-rows';
import { interpolate } from '../data/interpolate';
import { highest, lowest } from '../data/display';
import { reduce } from '../data/reduce';
import { number, object, objects, text } from '../read/json';
import { NoData } from './no-data';
import type { PictureProps } from './types';

const PAGE_ROWS = 100;

/** One table of everything: several series become rows with their names and last values. */
function tableOf(frames: Frame[]): Frame | null {
  const filled = frames.filter(({ fields }) => fields.length > 0);
  if (filled.length <= 1) return filled[0] ?? null;
  if (!filled.every((frame) => isSeries(frame) && frame.fields.length === 2)) return merge(filled)[0] ?? null;
  const values = filled.flatMap(({ fields }) => fields.slice(1));
  const config = values[0]?.config;
  return frameOf('all', [newField('Series', 'string', values.map(nameOf)), newField('Last value', 'number', values.map((field) => reduce(field.values, 'lastNotNull')), config ? { config: { ...config, displayName: '' } } : {})]);
}

const isHidden = ({ config: { custom } }: Field): boolean => custom.hidden === true || object(custom.hideFrom).viz === true;

export function TablePicture({ panel, data, scope }: PictureProps) {
  const [order, setOrder] = useState<{ field: string; isDescending: boolean } | null>(null);
  const [most, setMost] = useState(PAGE_ROWS);
  const frame = useMemo(() => tableOf(data.frames), [data]);
  const fields = (frame?.fields ?? []).filter((field) => !isHidden(field));
  const initial = useMemo(() => initialOrder(panel.options, fields), [frame]);
  const sorted = useMemo(() => (frame ? sortBy(frame, order ? [order] : initial) : null), [frame, order, initial]);
  if (!sorted || sorted.length === 0 || fields.length === 0) return <NoData panel={panel} />;
  const columns = sorted.fields.filter((field) => !isHidden(field));
  const click = (name: string) => setOrder(order?.field !== name ? { field: name, isDescending: false } : order.isDescending ? null : { field: name, isDescending: true });
  return (
    <div class="dash-table" tabIndex={0} role="region" aria-label={panel.title || 'Table'}>
      <table>
        {panel.options.showHeader !== false && (
          <thead>
            <tr>
              {columns.map((field) => {
                const name = nameOf(field);
                const way = order?.field === name ? (order.isDescending ? 'descending' : 'ascending') : undefined;
                return (
                  <th key={name} class={field.kind === 'number' ? 'number' : ''} aria-sort={way}>
                    <button type="button" onClick={() => click(name)}>{name}{way && (way === 'ascending' ? ' ↑' : ' ↓')}</button>
                  </th>
                );
              })}
            </tr>
          </thead>
        )}
        <tbody>
          {Array.from({ length: Math.min(most, sorted.length) }, (_, row) => (
            <tr key={row}>
              {columns.map((field, i) => <Cell key={i} field={field} value={field.values[row]} link={linkOf(field, columns, row, (url) => interpolate(url, scope, 'address'))} />)}
            </tr>
          ))}
        </tbody>
      </table>
      {sorted.length > most && <button type="button" class="button plain" onClick={() => setMost(most + 500)}>Show more of {plural(sorted.length, 'row')}</button>}
    </div>
  );
}

function initialOrder(options: Record<string, unknown>, fields: Field[]): { field: string; isDescending: boolean }[] {
  const column = number(options.sortColumn);
  const field = column === null ? undefined : fields[column];
  if (field) return [{ field: nameOf(field), isDescending: options.isDescending === true }];
  return objects(options.sortBy).map(({ displayName, desc }) => ({ field: text(displayName), isDescending: desc === true }));
}

/** The address of a cell's link, in which the values of the row may be named. Only pages of the web and paths are followed. */
function linkOf(field: Field, columns: Field[], row: number, fill: (url: string) => string): string | undefined {
  const url = field.config.links[0]?.url;
  if (!url) return undefined;
  const filled = url.replace(/\$\{__(?:value\.(?:raw|text)|data\.fields(?:\.([\w ]+)|\["([^"]+)"\]|\[(\d+)\])?)\}|\$__cell(?:_(\d+))?/g, (_, name?: string, quoted?: string, index?: string, cell?: string) => {
    const at = index ?? cell;
    const other = at !== undefined ? columns[Number(at)] : (name ?? quoted) !== undefined ? columns.find((column) => nameOf(column) === (name ?? quoted)) : field;
    return encodeURIComponent(String(other?.values[row] ?? ''));
  });
  const address = fill(filled);
  return /^https?:\/\//i.test(address) ? address : undefined;
}

function Cell({ field, value, link }: { field: Field; value: unknown; link: string | undefined }) {
  const { config } = field;
  const shown = display(config, field.kind === 'time' && value !== null ? Number(value) : value);
  const written = Number.isNaN(value) && !config.noValue ? '' : shownText(shown);
  const options = object(config.custom.cellOptions);
  const mode = text(options.type) || text(config.custom.displayMode);
  const isFilled = mode.startsWith('color-background');
  const style = shown.color && shown.color !== 'transparent' ? (isFilled ? { background: shown.color, color: '#fff' } : mode === 'color-text' ? { color: shown.color } : {}) : {};
  if (mode.includes('gauge') && typeof value === 'number' && Number.isFinite(value)) {
    const share = Math.min(1, Math.max(0, (value - lowest(config)) / (highest(config) - lowest(config) || 1)));
    return (
      <td class="number">
        <span class="dash-cell-bar"><i style={{ width: `${100 * share}%`, background: shown.color || 'var(--accent)' }} /></span> {written}
      </td>
    );
  }
  return (
    <td class={field.kind === 'number' ? 'number' : ''} style={style}>
      {link ? <a href={link} target="_blank" rel="noopener noreferrer">{written}</a> : written}
    </td>
  );
}
