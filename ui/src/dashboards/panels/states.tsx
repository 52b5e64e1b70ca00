/** States over time: a strip for each series, in which equal values that follow each other are one piece. */
import { display } from '../data/display';
import { nameOf } from '../data/frame';
import { shownText } from '../data/units';
import { formatTime } from '../../format/time';
import { NoData } from './no-data';
import { piecesOf } from './pieces';
import { seriesOf } from './time-series';
import type { PictureProps } from './types';

const MAX_STRIPS = 100;

export function States({ panel, data }: PictureProps) {
  const { times, series } = seriesOf(data.frames);
  if (series.length === 0) return <NoData panel={panel} />;
  const steps = times.length;
  const merges = panel.kind === 'state-timeline' && panel.options.mergeValues !== false;
  return (
    <ul class="dash-states" tabIndex={0} aria-label={panel.title}>
      {series.slice(0, MAX_STRIPS).map(({ field, line }, row) => (
        <li key={row}>
          <span title={nameOf(field)}>{nameOf(field)}</span>
          <span class="dash-strip">
            {piecesOf(line.values, merges).map(({ from, to, value }) => {
              const shown = display(field.config, value, row);
              const when = formatTime((times[from] ?? 0) * 1000);
              const style = { left: `${(100 * from) / steps}%`, width: `${(100 * (to - from)) / steps}%`, background: shown.color || 'var(--accent)' };
              return <i key={from} style={style} title={`${shownText(shown)} since ${when}`}>{(to - from) / steps > 0.06 ? shownText(shown) : ''}</i>;
            })}
          </span>
        </li>
      ))}
      {series.length > MAX_STRIPS && <li class="muted">and {series.length - MAX_STRIPS} more series</li>}
    </ul>
  );
}
