/** Small parts that many pages use. */
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { formatAgo, formatTime } from '../format/time';
import { type LabelMap, labelName, quote } from '../format/series';
import { href } from '../router';

/** A link to a page of the interface. */
export function PageLink({ page, params, children, ...rest }: {
  page: string;
  params?: Record<string, string>;
  children: ComponentChildren;
  class?: string;
  title?: string;
  'aria-current'?: 'page';
}) {
  return (
    <a href={href(page, params)} data-page={page} {...rest}>
      {children}
    </a>
  );
}

/** A link that opens a query. */
export function QueryLink({ expr, tab = 'graph', range = '1h', children, ...rest }: {
  expr: string;
  tab?: 'graph' | 'table';
  range?: string;
  children: ComponentChildren;
  class?: string;
  title?: string;
}) {
  const params = { 'g0.expr': expr, 'g0.tab': tab, 'g0.range_input': range };
  return <PageLink page="query" params={params} {...rest}>{children}</PageLink>;
}

export function Labels({ of, omit = [] }: { of: LabelMap; omit?: string[] }) {
  const shown = Object.entries(of).filter(([name]) => !omit.includes(name)).sort(([a], [b]) => (a < b ? -1 : 1));
  return (
    <span class="labels">
      {shown.map(([name, value]) => (
        <span class="label" key={name}>
          <b>{labelName(name)}</b>={quote(value)}
        </span>
      ))}
    </span>
  );
}

/** How long ago something was, with the exact time on hover. */
export function Ago({ at }: { at: number }) {
  const now = useNow(1000);
  if (!Number.isFinite(at)) return <span class="muted">never</span>;
  return <time dateTime={new Date(at).toISOString()} title={formatTime(at)}>{formatAgo(at, Math.max(now, at))}</time>;
}

export function useNow(everyMs: number): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}

/** A field that filters what is below it. */
export function Search({ value, onInput, label }: { value: string; onInput: (value: string) => void; label: string }) {
  return (
    <input
      class="field search"
      type="search"
      value={value}
      placeholder={label}
      aria-label={label}
      spellcheck={false}
      autocomplete="off"
      onInput={(event) => onInput(event.currentTarget.value)}
    />
  );
}

/** A choice between a few values, as a row of buttons. */
export function Segments<T extends string>({ label, value, options, onChange }: {
  label: string;
  value: T;
  options: [value: T, text: string][];
  onChange: (value: T) => void;
}) {
  return (
    <div class="segments" role="group" aria-label={label}>
      {options.map(([option, text]) => (
        <button type="button" key={option} aria-pressed={option === value} onClick={() => onChange(option)}>
          {text}
        </button>
      ))}
    </div>
  );
}

/** A dialog that is shown while it is mounted. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => element.current?.showModal(), []);
  return (
    <dialog
      ref={element}
      aria-label={title}
      onClose={onClose}
      onClick={(event) => event.target === element.current && element.current?.close()}
    >
      <header>
        <h2>{title}</h2>
        <button type="button" class="button plain icon" aria-label="Close" onClick={() => element.current?.close()}>✕</button>
      </header>
      <div class="body">{children}</div>
    </dialog>
  );
}

/** Copies text, and says so. */
export function CopyButton({ text, label = 'Copy' }: { text: () => string; label?: string }) {
  const [outcome, setOutcome] = useState('');
  useEffect(() => {
    if (!outcome) return;
    const timer = setTimeout(() => setOutcome(''), 1500);
    return () => clearTimeout(timer);
  }, [outcome]);
  const copy = () =>
    Promise.resolve(navigator.clipboard?.writeText(text())).then(
      () => setOutcome(navigator.clipboard ? 'Copied' : 'Copying needs HTTPS'),
      () => setOutcome('The browser refused'),
    );
  return (
    <button type="button" class="button" onClick={copy}>
      <span aria-live="polite">{outcome || label}</span>
    </button>
  );
}
