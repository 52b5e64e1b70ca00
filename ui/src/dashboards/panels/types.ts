/** What every kind of picture gets. */
import type { PanelData } from '../data/run-panel';
import type { Scope } from '../data/interpolate';
import type { Panel } from '../model';

export interface PictureProps {
  panel: Panel;
  data: PanelData;
  scope: Scope;
  /** Room for the picture, CSS pixels. */
  width: number;
  height: number;
  /** Called with the range that was selected by dragging, milliseconds. */
  onZoom: (startMs: number, endMs: number) => void;
}
