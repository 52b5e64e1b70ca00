/** Values on an arc with the colours of their thresholds. */
import { type Displayed, display, highest, lowest } from '../data/display';
import { shownText } from '../data/units';
import { safeColor } from '../data/colors';
import type { FieldConfig } from '../model';
import { NoData } from './no-data';
import { type Single, singleValues } from './single-values';
import type { PictureProps } from './types';

/** The arc begins at the lower left and ends at the lower right, degrees clockwise from the top. */
const START = -120;
const SWEEP = 240;

function arc(radius: number, from: number, to: number): string {
  const point = (share: number) => {
    const angle = ((START + SWEEP * share) * Math.PI) / 180;
    return `${(50 + radius * Math.sin(angle)).toFixed(2)} ${(50 - radius * Math.cos(angle)).toFixed(2)}`;
  };
  return `M${point(from)}A${radius} ${radius} 0 ${(to - from) * SWEEP > 180 ? 1 : 0} 1 ${point(to)}`;
}

export function Gauge({ panel, data, width, height }: PictureProps) {
  const values = singleValues(panel, data);
  if (values.length === 0) return <NoData panel={panel} />;
  const columns = Math.min(values.length, Math.max(1, Math.round(Math.sqrt((values.length * width) / Math.max(1, height)))));
  return (
    <div class="dash-stats" style={{ gridTemplateColumns: `repeat(${columns}, minmax(0, 1fr))` }}>
      {values.map((single, i) => <One key={`${single.name} ${i}`} single={single} shown={display(single.config, single.value, i)} hasName={values.length > 1} />)}
    </div>
  );
}

function shareOf(config: FieldConfig, value: number): number {
  const [low, high] = [lowest(config), highest(config)];
  return Math.min(1, Math.max(0, (value - low) / (high - low || 1)));
}

function One({ single: { name, value, config }, shown, hasName }: { single: Single; shown: Displayed; hasName: boolean }) {
  const share = shareOf(config, Number(value));
  const bounds = config.thresholds.map((threshold) => Math.min(1, Math.max(0, config.isPercentage ? threshold.value / 100 : shareOf(config, threshold.value))));
  const text = shownText(shown);
  return (
    <figure class="dash-gauge">
      <svg viewBox="0 0 100 84" role="img" aria-label={`${name}: ${text}`}>
        <path class="dash-gauge-track" d={arc(38, 0, 1)} />
        {share > 0 && <path class="dash-gauge-value" d={arc(38, 0, share)} style={{ stroke: shown.color || 'var(--accent)' }} />}
        {config.thresholds.map(({ color, value }, i) => {
          const [from, to] = [Number.isFinite(value) ? (bounds[i] ?? 0) : 0, bounds[i + 1] ?? 1];
          return to > from && <path key={i} class="dash-gauge-bounds" d={arc(46, from, to)} style={{ stroke: safeColor(color) }} />;
        })}
        <text x="50" y="58" style={{ fontSize: `${Math.min(18, 80 / Math.max(4, text.length))}px`, fill: shown.color || undefined }}>{text}</text>
      </svg>
      {hasName && <figcaption title={name}>{name}</figcaption>}
    </figure>
  );
}
