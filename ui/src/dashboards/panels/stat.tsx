/** Large values, with a small picture of how they came about. */
import { Spark } from '../../pages/explore/spark';
import { type Displayed, display } from '../data/display';
import { object, text } from '../read/json';
import { interpolate } from '../data/interpolate';
import { type Single, singleValues } from './single-values';
import { NoData } from './no-data';
import type { PictureProps } from './types';

export function Stat({ panel, data, scope, width, height }: PictureProps) {
  const values = singleValues(panel, data);
  if (values.length === 0) return <NoData panel={panel} />;
  const options = panel.options;
  const mode = text(options.textMode, 'auto');
  const [colorMode, graphMode] = [text(options.colorMode, 'value'), text(options.graphMode, 'area')];
  const isHorizontal = object(options).orientation === 'horizontal';
  const columns = isHorizontal ? 1 : Math.ceil(Math.sqrt((values.length * width) / Math.max(1, height * 2)));
  const fitted = Math.min(values.length, Math.max(1, columns));
  const rows = Math.ceil(values.length / fitted);
  const cell = { width: width / fitted - 8, height: height / rows - 4 };
  const wrap = (which: 'prefix' | 'postfix') => interpolate(text(options[which]), scope, 'text');
  return (
    <div class="dash-stats" style={{ gridTemplateColumns: `repeat(${fitted}, minmax(0, 1fr))` }}>
      {values.map((single, i) => {
        const shown = display(single.config, single.value, i);
        const written: Displayed = { ...shown, prefix: wrap('prefix') + shown.prefix, suffix: shown.suffix + wrap('postfix') };
        const hasName = mode === 'name' || mode === 'value_and_name' || (mode === 'auto' && values.length > 1);
        return <One key={`${single.name} ${i}`} single={single} shown={written} hasName={hasName} hasValue={mode !== 'name' && mode !== 'none'} colorMode={colorMode} hasGraph={graphMode !== 'none'} size={cell} />;
      })}
    </div>
  );
}

function One({ single, shown, hasName, hasValue, colorMode, hasGraph, size }: {
  single: Single;
  shown: Displayed;
  hasName: boolean;
  hasValue: boolean;
  colorMode: string;
  hasGraph: boolean;
  size: { width: number; height: number };
}) {
  const isBackground = colorMode.startsWith('background');
  const length = shown.prefix.length + shown.text.length + shown.suffix.length * 0.7;
  // Letters are about 0.6 as wide as they are high.
  const fontSize = Math.max(11, Math.min(64, size.height * (hasName ? 0.42 : 0.66), size.width / Math.max(2, length * 0.62)));
  const color = shown.color && shown.color !== 'transparent' ? shown.color : undefined;
  const style = isBackground && color ? { background: color, color: '#fff' } : colorMode === 'value' && color ? { color } : {};
  const points = hasGraph && single.series && size.height > 60 ? Array.from(single.series, (value, i): [number, number] => [i, Number(value)]) : [];
  return (
    <div class={`dash-stat${isBackground ? ' is-filled' : ''}`} style={style}>
      {hasName && (hasValue ? <span class="dash-stat-name" title={single.name}>{single.name}</span> : <strong title={single.name}>{single.name}</strong>)}
      {hasValue && (
        <strong style={{ fontSize: `${fontSize}px` }} title={String(single.value)}>
          {shown.prefix && <small>{shown.prefix}</small>}{shown.text}{shown.suffix && <small>{shown.suffix}</small>}
        </strong>
      )}
      {points.length > 1 && <Spark points={points} label={`${single.name} over time`} />}
    </div>
  );
}
