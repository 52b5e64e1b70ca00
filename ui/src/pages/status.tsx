/** The process: build, runtime and how it is doing. */
import type { ComponentChildren } from 'preact';
import { useApi } from '../api/use';
import { Banner, Loadable } from '../components/feedback';
import { Ago, QueryLink } from '../components/parts';
import { formatBytes, formatCount } from '../format/number';
import { formatTime, parseRfc3339 } from '../format/time';

interface RuntimeInfo {
  startTime: string;
  CWD: string;
  hostname: string;
  serverTime: string;
  reloadConfigSuccess: boolean;
  lastConfigTime: string;
  corruptionCount: number;
  goroutineCount: number;
  GOMAXPROCS: number;
  GOMEMLIMIT: number;
  storageRetention: string;
}

interface BuildInfo {
  version: string;
  revision: string;
  branch: string;
  buildUser: string;
  buildDate: string;
  goVersion: string;
  pharosVersion: string;
}

interface Alertmanagers {
  activeAlertmanagers: { url: string }[];
  droppedAlertmanagers: { url: string }[];
}

type Fact = [name: string, value: ComponentChildren];

function Facts({ facts }: { facts: Fact[] }) {
  return <dl class="facts">{facts.map(([name, value]) => [<dt key={name}>{name}</dt>, <dd key={`${name}.`}>{value || '–'}</dd>])}</dl>;
}

const When = ({ text }: { text: string }) => <>{formatTime(parseRfc3339(text))} <span class="muted">(<Ago at={parseRfc3339(text)} />)</span></>;

const LINKS: [expr: string, text: string][] = [
  ['process_resident_memory_bytes', 'Memory of the process'],
  ['rate(process_cpu_seconds_total[1m])', 'CPU of the process'],
  ['sum by (job) (scrape_samples_scraped)', 'Samples per scrape'],
];

export default function StatusPage() {
  const runtime = useApi<RuntimeInfo>('status/runtimeinfo', {}, 15_000);
  const build = useApi<BuildInfo>('status/buildinfo');
  return (
    <>
      <div class="page-head"><h1>Status</h1></div>
      <div class="columns">
        <section class="card">
          <header><h2>Process</h2></header>
          <div class="body stack">
            <Loadable of={runtime}>
              {(info) => (
                <>
                  {!info.reloadConfigSuccess && <Banner tone="bad">The last reload of the configuration failed; the one before is in force. The log says why.</Banner>}
                  {info.corruptionCount > 0 && <Banner tone="warn">{formatCount(info.corruptionCount)} damaged records were found in the write-ahead log. The log of the process names them.</Banner>}
                  <Facts
                    facts={[
                      ['Host', info.hostname],
                      ['Started', <When text={info.startTime} />],
                      ['Time of the server', formatTime(parseRfc3339(info.serverTime))],
                      ['Configuration loaded', <When text={info.lastConfigTime} />],
                      ['Working directory', <code>{info.CWD}</code>],
                      ['Retention', info.storageRetention],
                      ['CPU cores', formatCount(info.GOMAXPROCS)],
                      ['Threads', formatCount(info.goroutineCount)],
                      ['Memory limit of the head', formatBytes(info.GOMEMLIMIT)],
                    ]}
                  />
                </>
              )}
            </Loadable>
          </div>
        </section>
        <section class="card">
          <header><h2>Build</h2></header>
          <div class="body">
            <Loadable of={build}>
              {(info) => (
                <Facts
                  facts={[
                    ['Pharos', info.pharosVersion],
                    ['API of Prometheus', info.version],
                    ['Revision', info.revision && <code>{info.revision}</code>],
                    ['Branch', info.branch],
                    ['Built by', info.buildUser],
                    ['Built', info.buildDate],
                    ['Compiler', info.goVersion],
                  ]}
                />
              )}
            </Loadable>
          </div>
        </section>
        <AlertmanagerList />
        <section class="card">
          <header><h2>Look further</h2></header>
          <div class="body stack">
            {LINKS.map(([expr, text]) => <QueryLink key={expr} expr={expr}>{text}</QueryLink>)}
          </div>
        </section>
      </div>
    </>
  );
}

/** The Alertmanagers that are notified, if the configuration names any. */
function AlertmanagerList() {
  const { answer } = useApi<Alertmanagers>('alertmanagers', {}, 30_000);
  const { activeAlertmanagers: active = [], droppedAlertmanagers: dropped = [] } = answer?.data ?? {};
  if (active.length + dropped.length === 0) return null;
  return (
    <section class="card">
      <header><h2>Alertmanagers</h2></header>
      <ul class="rules">
        {active.map(({ url }) => <li key={url}><span class="row"><span class="badge good">notified</span><code class="wrap">{url}</code></span></li>)}
        {dropped.map(({ url }) => <li key={url}><span class="row"><span class="badge">dropped</span><code class="wrap">{url}</code></span></li>)}
      </ul>
    </section>
  );
}
