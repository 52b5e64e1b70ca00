/** Colours of series and of the chart, for the light and the dark theme. */

import { signal } from '@preact/signals';

/** Hues that stay apart for most kinds of colour vision, in the order in which series take them. */
const HUES = [215, 28, 145, 280, 350, 185, 50, 320, 100, 240, 10, 165];

const preference = matchMedia('(prefers-color-scheme: dark)');

/** Whether the system prefers the dark theme. */
export const dark = signal(preference.matches);
preference.addEventListener('change', () => { dark.value = preference.matches; });

/** The colour of the series with this number. */
export function seriesColor(index: number): string {
  const round = Math.floor(index / HUES.length);
  // Later rounds shift the hue, so that neighbours in the legend still differ.
  const hue = ((HUES[index % HUES.length] ?? 0) + round * 17) % 360;
  const lightness = (dark.value ? 66 : 42) + (round % 3) * (dark.value ? -7 : 7);
  return `hsl(${hue} ${dark.value ? 72 : 68}% ${lightness}%)`;
}

/** The current value of a custom property of the style sheet. */
export function cssColor(name: string): string {
  // A property with light-dark() has no computed colour; a real one does.
  const probe = document.createElement('span');
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}
