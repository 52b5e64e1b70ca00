/** The range, end and resolution of a panel. */
import { useEffect, useState } from 'preact/hooks';
import { formatDuration, parseDuration } from '../format/duration';
import { formatTime, parseTime } from '../format/time';
import { zone } from '../settings';
import { type Panel, type Resolution, stepOf } from './panel';

const RANGES = ['1s', '10s', '1m', '5m', '15m', '30m', '1h', '2h', '6h', '12h', '1d', '2d', '1w', '2w', '4w', '8w', '1y', '2y'].map((text) => parseDuration(text) ?? 0);

/** The next shorter or longer range. */
export function otherRange(rangeMs: number, isLonger: boolean): number {
  const next = isLonger ? RANGES.find((range) => range > rangeMs) : RANGES.findLast((range) => range < rangeMs);
  return next ?? rangeMs;
}

/** The end after moving by half a range. Null stays now when moving forward. */
export function shiftedEnd(panel: Panel, direction: -1 | 1): number | null {
  if (panel.endMs === null && direction > 0) return null;
  const end = (panel.endMs ?? Date.now()) + (direction * panel.rangeMs) / 2;
  return end >= Date.now() ? null : Math.round(end / 1000) * 1000;
}

type Change = (changes: Partial<Panel>) => void;

/** A text field that is read when the user leaves it or presses Enter, and marked while its text means nothing. */
function Parsed<T>({ text, read, onValue, label, list, placeholder, size }: {
  text: string;
  read: (text: string) => T | null;
  onValue: (value: T) => void;
  label: string;
  list?: string;
  placeholder?: string;
  size: number;
}) {
  const [draft, setDraft] = useState(text);
  useEffect(() => setDraft(text), [text]);
  const isBad = draft.trim() !== '' && read(draft) === null;
  const commit = (written: string) => {
    const value = read(written);
    if (value !== null) onValue(value);
    else if (!written.trim()) setDraft(text);
  };
  return (
    <input
      class="field"
      value={draft}
      list={list}
      size={size}
      aria-label={label}
      aria-invalid={isBad}
      title={isBad ? `Not a valid ${label.toLowerCase()}` : label}
      placeholder={placeholder}
      spellcheck={false}
      autocomplete="off"
      onInput={(event) => setDraft(event.currentTarget.value)}
      onChange={(event) => commit(event.currentTarget.value)}
      onKeyDown={(event) => event.key === 'Enter' && commit(event.currentTarget.value)}
    />
  );
}

export function RangeControl({ panel, change }: { panel: Panel; change: Change }) {
  const step = (isLonger: boolean) => change({ rangeMs: otherRange(panel.rangeMs, isLonger) });
  return (
    <span class="joined" role="group" aria-label="Range">
      <button type="button" class="button icon" aria-label="Shorter range" onClick={() => step(false)}>−</button>
      <Parsed text={formatDuration(panel.rangeMs)} read={parseDuration} onValue={(rangeMs) => change({ rangeMs })} label="Range" list="ranges" size={5} />
      <button type="button" class="button icon" aria-label="Longer range" onClick={() => step(true)}>+</button>
      <datalist id="ranges">
        {RANGES.map((range) => <option key={range} value={formatDuration(range)} />)}
      </datalist>
    </span>
  );
}

export function EndControl({ panel, change, label }: { panel: Panel; change: Change; label: string }) {
  const { endMs } = panel;
  const where = zone.value;
  const read = (text: string) => (text.trim() === 'now' ? Infinity : parseTime(text, where));
  return (
    <span class="joined" role="group" aria-label={label}>
      <button type="button" class="button icon" aria-label="Earlier" onClick={() => change({ endMs: shiftedEnd(panel, -1) })}>‹</button>
      <Parsed
        text={endMs === null ? '' : formatTime(endMs, where)}
        read={read}
        onValue={(value) => change({ endMs: value === Infinity ? null : value })}
        label={label}
        placeholder={`now (${where === 'utc' ? 'UTC' : 'local'})`}
        size={18}
      />
      <button type="button" class="button icon" aria-label="Later" disabled={endMs === null} onClick={() => change({ endMs: shiftedEnd(panel, 1) })}>›</button>
      {endMs !== null && <button type="button" class="button" onClick={() => change({ endMs: null })}>Now</button>}
    </span>
  );
}

const STEPS = ['10s', '15s', '30s', '1m', '5m', '15m', '1h', '6h', '1d'];

export function ResolutionControl({ panel, change }: { panel: Panel; change: Change }) {
  const { resolution } = panel;
  const value = resolution.type === 'auto' ? resolution.density : formatDuration(resolution.stepMs);
  const isOther = resolution.type !== 'auto' && !STEPS.includes(value);
  const choose = (chosen: string) => {
    const stepMs = parseDuration(chosen);
    const next: Resolution =
      chosen === 'low' || chosen === 'medium' || chosen === 'high' ? { type: 'auto', density: chosen } : { type: 'fixed', stepMs: stepMs ?? stepOf(panel) };
    change({ resolution: next });
  };
  return (
    <label class="row">
      <span class="visually-hidden">Resolution</span>
      <select class="field" value={value} title="The time between two points" onChange={(event) => choose(event.currentTarget.value)}>
        <optgroup label="By the range">
          <option value="low">Low resolution</option>
          <option value="medium">Medium resolution</option>
          <option value="high">High resolution</option>
        </optgroup>
        <optgroup label="Fixed step">
          {STEPS.map((step) => <option key={step} value={step}>{step}</option>)}
          {isOther && <option value={value}>{value}</option>}
        </optgroup>
      </select>
    </label>
  );
}
