/** A long list of which only the visible rows are in the document. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';

const MARGIN_ROWS = 12;

/** Rows of one height in a box that scrolls. `maxHeight` is the height from which on it scrolls. All sizes are CSS pixels. */
export function Rows({ count, rowHeight, maxHeight, row, label }: {
  count: number;
  rowHeight: number;
  maxHeight: number;
  row: (index: number) => ComponentChildren;
  label: string;
}) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const height = Math.min(maxHeight, count * rowHeight);
  useEffect(() => {
    if (box.current && box.current.scrollTop > count * rowHeight) box.current.scrollTop = 0;
  }, [count]);
  const first = Math.max(0, Math.floor(top / rowHeight) - MARGIN_ROWS);
  const last = Math.min(count, Math.ceil((top + height) / rowHeight) + MARGIN_ROWS);
  const shown = [];
  for (let i = first; i < last; i++) shown.push(row(i));
  return (
    <div
      ref={box}
      class="rows"
      role="list"
      aria-label={label}
      tabIndex={count * rowHeight > maxHeight ? 0 : undefined}
      style={{ height: `${height}px` }}
      onScroll={(event) => setTop(event.currentTarget.scrollTop)}
    >
      <div style={{ height: `${count * rowHeight}px`, paddingTop: `${first * rowHeight}px` }}>{shown}</div>
    </div>
  );
}
