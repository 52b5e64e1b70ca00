/** The configuration, with all defaults and without secrets. */
import { useApi } from '../api/use';
import { Loadable } from '../components/feedback';
import { CopyButton } from '../components/parts';

export default function ConfigPage() {
  const loaded = useApi<{ yaml: string }>('status/config');
  return (
    <>
      <div class="page-head">
        <h1>Configuration</h1>
        <span class="spacer" />
        {loaded.answer && <CopyButton text={() => loaded.answer?.data.yaml ?? ''} />}
      </div>
      <Loadable of={loaded}>{({ yaml }) => <div class="card"><pre class="code" tabIndex={0}>{highlighted(yaml)}</pre></div>}</Loadable>
    </>
  );
}

/** YAML with its keys and comments set apart. The text stays as it is. */
function highlighted(yaml: string) {
  return yaml.split('\n').map((line, i) => {
    const key = /^(\s*(?:- )*)([\w.-]+)(:)(?=\s|$)(.*)$/.exec(line);
    const end = '\n';
    if (/^\s*#/.test(line)) return <span class="muted" key={i}>{line}{end}</span>;
    if (!key) return <span key={i}>{line}{end}</span>;
    return <span key={i}>{key[1]}<b class="yaml-key">{key[2]}</b>{key[3]}{key[4]}{end}</span>;
  });
}
