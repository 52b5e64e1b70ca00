/** What is under the pointer in a chart. */
import { formatShort } from '../format/number';
import { type LabelMap, otherLabels } from '../format/series';
import { formatExact } from '../format/time';

export interface Pointed {
  /** Position inside the chart, CSS pixels. */
  x: number;
  y: number;
  /** Whether the tooltip goes to the left of the pointer. */
  isRight: boolean;
  /** Milliseconds since the epoch. */
  time: number;
  title?: string;
  color?: string;
  value?: number;
  /** The value as text; a short form of the number by default. */
  shown?: string;
  labels?: LabelMap;
}

const MAX_LABELS = 14;

export function Tooltip({ x, y, isRight, time, title, color, value, shown, labels }: Pointed) {
  const others = labels ? otherLabels(labels) : [];
  const place = isRight ? { right: `calc(100% - ${x - 14}px)` } : { left: `${x + 14}px` };
  return (
    <div class="chart-tip" style={{ ...place, top: `${Math.max(0, y - 30)}px` }}>
      <div class="muted">{formatExact(time)}</div>
      {title && <div>{title}</div>}
      {value !== undefined && (
        <div>
          {color && <i class="swatch" style={{ background: color }} />}
          <strong>{shown ?? formatShort(value, 6)}</strong> {labels?.__name__}
        </div>
      )}
      <dl>
        {others.slice(0, MAX_LABELS).map(([name, text]) => (
          <div key={name}><dt>{name}</dt> <dd>{text}</dd></div>
        ))}
        {others.length > MAX_LABELS && <div class="muted">and {others.length - MAX_LABELS} more labels</div>}
      </dl>
    </div>
  );
}
