/** In place of a picture that has nothing to show. */
import type { Panel } from '../model';

export function NoData({ panel }: { panel: Panel }) {
  return <div class="dash-nothing muted">{panel.field.noValue || 'No data'}</div>;
}
