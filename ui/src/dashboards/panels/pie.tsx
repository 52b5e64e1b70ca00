/** Shares of a whole. */
import { display } from '../data/display';
import { shownText } from '../data/units';
import { colorAt } from '../data/display';
import { paletteColor } from '../data/colors';
import { object, text, texts } from '../read/json';
import { NoData } from './no-data';
import { singleValues } from './single-values';
import type { PictureProps } from './types';

const MAX_SLICES = 60;

function slicePath(from: number, to: number): string {
  const point = (share: number) => `${(50 + 48 * Math.sin(2 * Math.PI * share)).toFixed(3)} ${(50 - 48 * Math.cos(2 * Math.PI * share)).toFixed(3)}`;
  // A full circle needs two arcs.
  if (to - from > 0.9999) return `M50 2A48 48 0 1 1 49.99 2Z`;
  return `M50 50L${point(from)}A48 48 0 ${to - from > 0.5 ? 1 : 0} 1 ${point(to)}Z`;
}

export function Pie({ panel, data }: PictureProps) {
  const values = singleValues(panel, data).filter(({ value }) => Number(value) > 0).slice(0, MAX_SLICES);
  if (values.length === 0) return <NoData panel={panel} />;
  const total = values.reduce((sum, { value }) => sum + Number(value), 0);
  const legend = object(panel.options.legend);
  const wanted = texts(legend.values);
  let before = 0;
  const slices = values.map(({ name, value, config }, i) => {
    const from = before / total;
    before += Number(value);
    const color = config.colorMode === 'fixed' ? colorAt(config, Number(value), i) : paletteColor(i);
    return { name, color, from, to: before / total, text: shownText(display(config, value, i)), percent: `${((100 * Number(value)) / total).toFixed(1)}%` };
  });
  return (
    <div class={`dash-pie${legend.placement === 'right' ? ' is-beside' : ''}`}>
      <svg viewBox="0 0 100 100" role="img" aria-label={`${panel.title}: ${slices.map(({ name, percent }) => `${name} ${percent}`).join(', ')}`}>
        {slices.map(({ name, color, from, to, text, percent }, i) => (
          <path key={i} d={slicePath(from, to)} style={{ fill: color }}><title>{name}: {text} ({percent})</title></path>
        ))}
        {text(panel.options.pieType) === 'donut' && <circle cx="50" cy="50" r="28" class="dash-pie-hole" />}
      </svg>
      {legend.showLegend !== false && legend.displayMode !== 'hidden' && (
        <ul class="dash-pie-legend" tabIndex={0} aria-label="Legend">
          {slices.map(({ name, color, text, percent }, i) => (
            <li key={i}>
              <i class="swatch" style={{ background: color }} /> <span>{name}</span>
              <span class="number muted">{wanted.includes('percent') ? percent : ''} {wanted.includes('value') || wanted.length === 0 ? text : ''}</span>
            </li>
          ))}
        </ul>
      )}
    </div>
  );
}
