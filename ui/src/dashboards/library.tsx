/** The dashboards of the server, and ways to open others. */
import { useRef, useState } from 'preact/hooks';
import { useApi } from '../api/use';
import { Banner, Empty, Loadable } from '../components/feedback';
import { Dialog, PageLink, Search } from '../components/parts';
import { href, navigate } from '../router';
import { type Listed, OWN, openText } from './open';

/** Larger files are no dashboards. */
const MAX_FILE_BYTES = 20_000_000;

export function Library() {
  const loaded = useApi<Listed[]>('dashboards');
  const [filter, setFilter] = useState('');
  const [problem, setProblem] = useState('');
  const [isPasting, setPasting] = useState(false);
  const file = useRef<HTMLInputElement>(null);

  const open = (text: string) => {
    try {
      openText(text);
      navigate(href('dashboards', { dashboard: OWN }));
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };
  const openFile = async (chosen: File | null | undefined) => {
    if (!chosen) return;
    if (chosen.size > MAX_FILE_BYTES) return setProblem(`${chosen.name} has ${chosen.size} bytes, which is more than any dashboard has.`);
    open(await chosen.text());
  };
  return (
    <div
      class="stack"
      onDragOver={(event) => event.preventDefault()}
      onDrop={(event) => {
        event.preventDefault();
        void openFile(event.dataTransfer?.files[0]);
      }}
    >
      <div class="page-head">
        <h1>Dashboards</h1>
        <Search value={filter} onInput={setFilter} label="Filter by title or tag" />
        <span class="spacer" />
        <button type="button" class="button" onClick={() => file.current?.click()}>Open a file</button>
        <button type="button" class="button" onClick={() => setPasting(true)}>Paste JSON</button>
        <input ref={file} type="file" accept=".json,application/json" hidden aria-label="Dashboard file" onChange={(event) => void openFile(event.currentTarget.files?.[0])} />
      </div>
      {problem && <Banner tone="bad" action={<button type="button" class="button" onClick={() => setProblem('')}>Close</button>}>{problem}</Banner>}
      <Loadable of={loaded}>{(all) => <List all={all} filter={filter} />}</Loadable>
      <p class="muted">Dashboards of Grafana are opened as they are: exported JSON of any version can be dropped here. Those in the folder that <code>--web.dashboards</code> names are listed.</p>
      {isPasting && <Paste close={() => setPasting(false)} open={(text) => { setPasting(false); open(text); }} />}
    </div>
  );
}

function List({ all, filter }: { all: Listed[]; filter: string }) {
  const wanted = filter.toLowerCase();
  const shown = all.filter(({ title, name, tags }) => `${title} ${name} ${tags.join(' ')}`.toLowerCase().includes(wanted));
  if (shown.length === 0) return <div class="card"><Empty title={all.length === 0 ? 'The server has no dashboards' : 'No dashboard matches'} /></div>;
  return (
    <ul class="dash-library">
      {shown.map(({ name, title, tags, origin, error }) => (
        <li key={`${origin} ${name}`} class="card">
          {error ? <strong>{name}</strong> : <PageLink page="dashboards" params={{ dashboard: name }}><strong>{title || name}</strong></PageLink>}
          <span class="muted mono">{origin === 'built-in' ? 'built in' : `${name}.json`}</span>
          {error ? <span class="scrape-error">{error}</span> : <span class="row">{tags.map((tag) => <span class="badge" key={tag}>{tag}</span>)}</span>}
        </li>
      ))}
    </ul>
  );
}

function Paste({ close, open }: { close: () => void; open: (text: string) => void }) {
  const [text, setText] = useState('');
  return (
    <Dialog title="Paste a dashboard" onClose={close}>
      <div class="stack">
        <textarea class="field dash-paste" aria-label="JSON of a dashboard" spellcheck={false} value={text} onInput={(event) => setText(event.currentTarget.value)} />
        <div><button type="button" class="button primary" disabled={!text.trim()} onClick={() => open(text)}>Open</button></div>
      </div>
    </Dialog>
  );
}
