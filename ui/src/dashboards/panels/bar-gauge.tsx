/** Values as bars beside their names. */
import { colorAt, display, highest, lowest } from '../data/display';
import { shownText } from '../data/units';
import { NoData } from './no-data';
import { singleValues } from './single-values';
import type { PictureProps } from './types';

export function BarGauge({ panel, data }: PictureProps) {
  const values = singleValues(panel, data);
  if (values.length === 0) return <NoData panel={panel} />;
  // Without a configured end all bars share the largest value.
  const most = Math.max(...values.map(({ value }) => Number(value)).filter(Number.isFinite), 0);
  return (
    <ul class="dash-bars" tabIndex={0} aria-label={panel.title}>
      {values.map(({ name, value, config }, i) => {
        const shown = display(config, value, i);
        const [low, high] = [lowest(config), config.max === null && config.unit !== 'percentunit' && config.unit !== 'percent' ? most : highest(config)];
        const share = Math.min(1, Math.max(0, (Number(value) - low) / (high - low || 1)));
        return (
          <li key={`${name} ${i}`}>
            <span title={name}>{name}</span>
            <strong class="number" style={{ color: shown.color || undefined }}>{shownText(shown)}</strong>
            <span class="dash-bar"><i style={{ width: `${100 * (Number.isNaN(share) ? 0 : share)}%`, background: colorAt(config, Number(value), i) || 'var(--accent)' }} /></span>
          </li>
        );
      })}
    </ul>
  );
}
