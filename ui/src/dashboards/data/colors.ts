/** Colours of dashboards: Grafana's names of shades, and others that are safe to put into a style. */
import { dark, seriesColor } from '../../chart/colors';

const HUES: Record<string, [hue: number, saturation: number]> = { red: [354, 75], orange: [28, 95], yellow: [48, 90], green: [134, 50], blue: [217, 80], purple: [280, 60] };

const SHADES: Record<string, number> = { 'super-light': 22, light: 12, 'semi-dark': -8, dark: -15 };

/** A colour for CSS. An empty text if the name means none: nothing that a dashboard names is put into a style unchecked. */
export function safeColor(name: string): string {
  const written = name.trim();
  if (written === 'transparent') return 'transparent';
  if (written === 'text') return 'var(--text)';
  if (/^#[0-9a-f]{3,8}$/i.test(written) || /^(rgb|hsl)a?\([\d\s.,%/deg]+\)$/i.test(written)) return written;
  const match = /^(?:(super-light|light|semi-dark|dark)-)?(red|orange|yellow|green|blue|purple)$/.exec(written);
  if (match) {
    const [hue, saturation] = HUES[match[2] ?? ''] ?? [0, 0];
    // Yellow and orange are read on white only if they are darker.
    const base = (dark.value ? 62 : 44) - (dark.value || (match[2] !== 'yellow' && match[2] !== 'orange') ? 0 : 4);
    return `hsl(${hue} ${saturation}% ${base + (SHADES[match[1] ?? ''] ?? 0)}%)`;
  }
  return /^[a-z]{3,20}$/.test(written) ? written : '';
}

export const paletteColor = seriesColor;
