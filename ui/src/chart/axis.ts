/** Labels of the time axis. */
import { formatTime } from '../format/time';
import type { Zone } from '../settings';

/** Labels of ticks that are `incrSeconds` apart. The date is shown at the first tick and wherever it changes. */
export function timeLabels(splits: number[], incrSeconds: number, zone: Zone): string[] {
  let shownDate = '';
  return splits.map((seconds) => {
    const [date = '', time = ''] = formatTime(seconds * 1000, zone).split(' ');
    if (incrSeconds >= 86_400) return date;
    const label = incrSeconds < 60 ? time : time.slice(0, 5);
    if (date === shownDate) return label;
    const isFirst = shownDate === '';
    shownDate = date;
    return isFirst || time.startsWith('00:00') ? `${label}\n${date}` : `${label}\n${date.slice(5)}`;
  });
}
