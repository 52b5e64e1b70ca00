/** The name of a series, with its labels set apart by colour. */
import './result.css';
import { type LabelMap, labelName, otherLabels, quote } from '../format/series';

export function SeriesName({ labels, omit }: { labels: LabelMap; omit?: ReadonlySet<string> }) {
  const others = otherLabels(labels).filter(([name]) => !omit?.has(name));
  return (
    <span class="series-name">
      {labels.__name__}
      {(others.length > 0 || !labels.__name__) && (
        <>
          {'{'}
          {others.map(([name, value], i) => (
            <span key={name}>
              {i > 0 && ', '}
              <b>{labelName(name)}</b>=<i>{quote(value)}</i>
            </span>
          ))}
          {'}'}
        </>
      )}
    </span>
  );
}
