/** The variables of a dashboard above its panels. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { Search } from '../components/parts';
import { ALL, type Chosen, type Option } from './model';
import { changeState } from './state';

const MAX_SHOWN = 200;

export function Variables({ chosen }: { chosen: Chosen[] }) {
  const shown = chosen.filter(({ variable }) => !variable.isHidden && variable.kind !== 'constant' && variable.kind !== 'unknown' && variable.kind !== 'adhoc');
  if (shown.length === 0) return null;
  return (
    <div class="row dash-variables">
      {shown.map((one) => (
        <div class="dash-variable" key={one.variable.name}>
          <span>{one.variable.label}</span>
          {one.variable.kind === 'textbox' ? <TextBox of={one} /> : <Picker of={one} />}
        </div>
      ))}
    </div>
  );
}

const set = (name: string, values: string[]) => changeState({ [`var-${name}`]: values });

function TextBox({ of: { variable, values } }: { of: Chosen }) {
  return <input class="field" aria-label={variable.label} value={values[0] ?? ''} spellcheck={false} autocomplete="off" onChange={(event) => set(variable.name, [event.currentTarget.value])} />;
}

function summary({ values, options }: Chosen): string {
  if (values.includes(ALL)) return 'All';
  const texts = values.map((value) => options.find((option) => option.value === value)?.text ?? value);
  return texts.length === 0 ? 'None' : texts.length > 3 ? `${texts.length} chosen` : texts.join(' + ');
}

/** Options that the server finds for what is typed, where it has more than are listed. */
function useFurther({ search }: Chosen, typed: string): Option[] {
  const [found, setFound] = useState<Option[]>([]);
  useEffect(() => {
    setFound([]);
    if (!search || !typed) return;
    const abort = new AbortController();
    const timer = setTimeout(() => search(typed, abort.signal).then(setFound, () => {}), 200);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [search, typed]);
  return found;
}

/** A list of options that is searched. Several can be chosen if the variable allows it. */
function Picker({ of }: { of: Chosen }) {
  const { variable, values, options, isTruncated } = of;
  const [filter, setFilter] = useState('');
  const details = useRef<HTMLDetailsElement>(null);
  const close = () => {
    if (details.current) details.current.open = false;
  };
  useEffect(() => {
    const onClick = (event: MouseEvent) => event.target instanceof Node && !details.current?.contains(event.target) && close();
    document.addEventListener('click', onClick);
    return () => document.removeEventListener('click', onClick);
  }, []);
  const wanted = filter.toLowerCase();
  const all = variable.hasAll && !options.some(({ value }) => value === ALL) ? [{ text: 'All', value: ALL }, ...options] : options;
  const further = useFurther(of, filter);
  const listed = all.filter(({ text }) => text.toLowerCase().includes(wanted));
  const found = [...listed, ...further.filter(({ value }) => !listed.some((other) => other.value === value))];
  const isExact = found.some(({ text }) => text === filter);
  const click = (value: string) => {
    if (!variable.isMulti) {
      close();
      return set(variable.name, [value]);
    }
    if (value === ALL) return set(variable.name, [ALL]);
    const others = values.filter((other) => other !== ALL && other !== value);
    const next = values.includes(value) ? others : [...others, value];
    set(variable.name, next.length > 0 ? next : variable.hasAll ? [ALL] : [value]);
  };
  return (
    <details class="dash-picker" ref={details} onKeyDown={(event) => event.key === 'Escape' && close()}>
      <summary class="field" aria-label={`${variable.label}: ${summary(of)}`}>{summary(of)}</summary>
      <div class="dash-options">
        {(options.length > 8 || isTruncated) && <Search value={filter} onInput={setFilter} label="Find an option" />}
        <ul>
          {found.slice(0, MAX_SHOWN).map(({ text, value }) => (
            <li key={value}>
              <button type="button" aria-pressed={values.includes(value)} onClick={() => click(value)}>{text}</button>
            </li>
          ))}
          {filter && !isExact && isTruncated && <li><button type="button" onClick={() => click(filter)}>Use “{filter}”</button></li>}
        </ul>
        {found.length === 0 && <p class="muted">No option matches.</p>}
        {found.length > MAX_SHOWN && <p class="muted">and {found.length - MAX_SHOWN} more: type to find them.</p>}
        {isTruncated && <p class="muted">The server has more than {options.length} values: type to search them.</p>}
      </div>
    </details>
  );
}
