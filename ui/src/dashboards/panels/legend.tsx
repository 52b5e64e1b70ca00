/** The legend of a chart: names, and statistics where the panel asks for them. A click shows one series alone. */
import { displayText } from '../data/display';
import { REDUCERS, reduce } from '../data/reduce';
import type { FieldConfig, Panel } from '../model';
import { object, text, texts } from '../read/json';

export interface LegendOptions {
  isShown: boolean;
  isTable: boolean;
  isBeside: boolean;
  calcs: string[];
}

export function legendOptions(panel: Panel): LegendOptions {
  const legend = object(panel.options.legend);
  const mode = text(legend.displayMode, 'list');
  return { isShown: legend.showLegend !== false && mode !== 'hidden', isTable: mode === 'table', isBeside: legend.placement === 'right', calcs: texts(legend.calcs) };
}

export interface Entry {
  name: string;
  color: string;
  values: Float64Array;
  config: FieldConfig;
}

/** More entries make the page slow, and nobody reads them. */
const MAX_ENTRIES = 300;

export function Legend({ options, entries, height, hidden, setHidden, onFocus }: {
  options: LegendOptions;
  entries: Entry[];
  height: number;
  hidden: ReadonlySet<number>;
  setHidden: (hidden: ReadonlySet<number>) => void;
  onFocus: (line: number) => void;
}) {
  const click = (line: number, isOnlyThis: boolean) => {
    const next = new Set(hidden);
    if (isOnlyThis) {
      const isAlone = !hidden.has(line) && hidden.size === entries.length - 1;
      return setHidden(isAlone ? new Set() : new Set([...entries.keys()].filter((other) => other !== line)));
    }
    if (!next.delete(line)) next.add(line);
    setHidden(next.size === entries.length ? new Set() : next);
  };
  const shown = entries.slice(0, MAX_ENTRIES);
  const calcText = ({ values, config }: Entry, how: string) => displayText({ ...config, mappings: [] }, reduce(values, how));
  const button = (entry: Entry, line: number) => (
    <button
      type="button"
      aria-pressed={!hidden.has(line)}
      title={`${entry.name}\nClick: only this series. Ctrl+click: hide or show it.`}
      onMouseEnter={() => onFocus(line)}
      onClick={(event) => click(line, !event.ctrlKey && !event.metaKey)}
    >
      <i class="swatch" style={{ background: entry.color }} />
      <span>{entry.name}</span>
    </button>
  );
  return (
    <div class="dash-legend" style={{ maxHeight: `${height}px` }} tabIndex={0} role="group" aria-label="Legend" onMouseLeave={() => onFocus(-1)}>
      {options.isTable ? (
        <table>
          <thead>
            <tr>
              <th>Name</th>
              {options.calcs.map((how) => <th class="number" key={how}>{REDUCERS[how] ?? how}</th>)}
            </tr>
          </thead>
          <tbody>
            {shown.map((entry, line) => (
              <tr key={line}>
                <td>{button(entry, line)}</td>
                {options.calcs.map((how) => <td class="number" key={how}>{calcText(entry, how)}</td>)}
              </tr>
            ))}
          </tbody>
        </table>
      ) : (
        <ul>
          {shown.map((entry, line) => (
            <li key={line}>
              {button(entry, line)}
              {options.calcs.map((how) => <span class="muted" key={how}>{REDUCERS[how] ?? how}: {calcText(entry, how)}</span>)}
            </li>
          ))}
        </ul>
      )}
      {entries.length > shown.length && <p class="muted">and {entries.length - shown.length} more</p>}
    </div>
  );
}
