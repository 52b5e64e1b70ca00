/** Where panels are: rows and panels that are repeated, and the places that follow from that. */
import { type Chosen, type Option, type Panel, type Place, type Section } from './model';
import { type Scope, expand } from './data/interpolate';

/** A panel at its place, with the options for which it is repeated. */
export interface Placed {
  key: string;
  panel: Panel;
  place: Place;
  repeated: Record<string, Option>;
}

export interface LaidOut {
  key: string;
  section: Section;
  repeated: Record<string, Option>;
  panels: Placed[];
}

/** More repetitions would be a page that nobody looks at. */
const MAX_REPEATS = 100;

/** The options that are chosen for a variable. Null if there is no such variable. */
function chosenOptions(name: string, variables: Chosen[]): Option[] | null {
  const chosen = name ? variables.find(({ variable }) => variable.name === name) : undefined;
  if (!chosen) return null;
  const values = expand(chosen).slice(0, MAX_REPEATS);
  return values.map((value) => chosen.options.find((option) => option.value === value) ?? { text: value, value });
}

/** All sections with all their panels, rows repeated for the values of their variable. */
export function layOut(sections: Section[], scope: Scope): LaidOut[] {
  return sections.flatMap((section) => {
    const options = chosenOptions(section.repeat, scope.variables);
    if (!options) return [{ key: section.id, section, repeated: {}, panels: layOutPanels(section, scope, {}) }];
    return options.map((option) => {
      const repeated = { [section.repeat]: option };
      return { key: `${section.id} ${option.value}`, section, repeated, panels: layOutPanels(section, scope, repeated) };
    });
  });
}

function layOutPanels(section: Section, scope: Scope, repeated: Record<string, Option>): Placed[] {
  const top = Math.min(...section.panels.map(({ place }) => place.y));
  const sorted = section.panels.toSorted((a, b) => a.place.y - b.place.y || a.place.x - b.place.x);
  const placed: Placed[] = [];
  // How far everything below a repeated panel moves down.
  let pushed = 0;
  for (const [number, panel] of sorted.entries()) {
    const start = { ...panel.place, y: panel.place.y - top + pushed };
    const options = panel.repeat in repeated ? null : chosenOptions(panel.repeat, scope.variables);
    if (!options) {
      placed.push({ key: `${panel.id} ${number}`, panel, place: start, repeated });
      continue;
    }
    const places = panel.repeatDirection === 'v' ? below(start, options.length) : beside(start, options.length, panel.maxPerRow);
    options.forEach((option, i) => {
      placed.push({ key: `${panel.id} ${number} ${option.value}`, panel, place: places[i] ?? start, repeated: { ...repeated, [panel.repeat]: option } });
    });
    const bottom = Math.max(start.y + start.h, ...places.map(({ y, h }) => y + h));
    pushed += bottom - (start.y + start.h);
  }
  return placed;
}

const below = (start: Place, count: number): Place[] => Array.from({ length: count }, (_, i) => ({ ...start, y: start.y + i * start.h }));

/** Repeated panels fill the width, up to `maxPerRow` beside each other. */
function beside(start: Place, count: number, maxPerRow: number): Place[] {
  const columns = Math.max(1, Math.min(count, maxPerRow, 24));
  const w = Math.floor(24 / columns);
  return Array.from({ length: count }, (_, i) => ({ x: (i % columns) * w, y: start.y + Math.floor(i / columns) * start.h, w, h: start.h }));
}
