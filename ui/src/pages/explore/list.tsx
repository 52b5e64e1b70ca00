/** The metrics that match what is typed, each with what it is, how many series it has, and a small picture. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { failureOf, get, type Failure } from '../../api/client';
import { find } from '../../api/search';
import { inTurn } from '../../api/turns';
import { Empty, FailureBanner, Loading } from '../../components/feedback';
import { PageLink, Search } from '../../components/parts';
import { formatShort, parseValue, plural } from '../../format/number';
import { selector } from '../../format/series';
import { place, setParams } from '../../router';
import { tenant } from '../../settings';
import { type MetricInfo, lookUp, pictureQuery, pictureTitle } from './metric-info';
import { Spark } from './spark';

const TYPING_MS = 200;

export function MetricList() {
  const typed = place.value.params.get('search') ?? '';
  const [names, setNames] = useState<string[] | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    const timer = setTimeout(() => {
      find({ names: 'metric' }, typed.trim(), undefined, abort.signal).then(
        ({ texts }) => {
          setNames(texts);
          setFailure(null);
        },
        (error) => abort.signal.aborted || setFailure(failureOf(error)),
      );
    }, names ? TYPING_MS : 0);
    return () => {
      clearTimeout(timer);
      abort.abort();
    };
  }, [typed, tenant.value]);
  return (
    <>
      <div class="page-head">
        <h1>Explore</h1>
        <Search value={typed} onInput={(search) => setParams({ search })} label="Find metrics, for example httpdur" />
        {names && <span class="muted">{names.length >= 100 ? 'the best 100 matches' : plural(names.length, 'metric')}</span>}
      </div>
      {failure && <FailureBanner failure={failure} />}
      {!names && !failure && <Loading />}
      {names?.length === 0 && (
        <div class="card">
          <Empty title={typed ? 'No metric matches' : 'No metrics yet'}>
            <p>{typed ? 'Letters may be left out, but not swapped.' : 'Nothing was scraped or received for this tenant in the last twelve hours.'}</p>
          </Empty>
        </div>
      )}
      <div class="metrics">
        {names?.map((name) => <MetricCard key={`${tenant.value} ${name}`} metric={name} />)}
      </div>
    </>
  );
}

interface CardData {
  info: MetricInfo;
  series: number;
  points: [number, number][];
}

type Matrix = { result: { values?: [number, string][] }[] };
type Vector = { result: { value: [number, string] }[] };

async function load(metric: string, signal: AbortSignal): Promise<CardData> {
  const info = await lookUp(metric, signal);
  const end = Math.floor(Date.now() / 1000);
  const [counted, picture] = await Promise.all([
    get<Vector>('query', { query: `count(${selector(metric)})`, time: String(end) }, signal),
    get<Matrix>('query_range', { query: pictureQuery(metric, info), start: String(end - 3600), end: String(end), step: '60' }, signal),
  ]);
  const points = (picture.data.result[0]?.values ?? []).map(([time, value]): [number, number] => [time, parseValue(value)]);
  return { info, series: Number(counted.data.result[0]?.value[1] ?? 0), points };
}

/** Loads what it shows once it is near the visible part of the page. */
function MetricCard({ metric }: { metric: string }) {
  const element = useRef<HTMLElement>(null);
  const [data, setData] = useState<CardData | null>(null);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    const abort = new AbortController();
    const observer = new IntersectionObserver((entries) => {
      if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
      observer.disconnect();
      inTurn(abort.signal, () => load(metric, abort.signal)).then(setData, (error) => abort.signal.aborted || setProblem(failureOf(error).message));
    }, { rootMargin: '200px' });
    if (element.current) observer.observe(element.current);
    return () => {
      observer.disconnect();
      abort.abort();
    };
  }, [metric]);
  return (
    <article class="card metric" ref={element}>
      <PageLink page="explore" params={{ metric }} class="metric-link"><h2 class="mono">{metric}</h2></PageLink>
      {problem && <p class="scrape-error">{problem}</p>}
      {data && (
        <>
          <div class="row">
            <span class="badge info">{data.info.type}</span>
            {data.info.unit && <span class="badge">{data.info.unit}</span>}
            <span class="muted">{plural(data.series, 'series', 'series')}</span>
          </div>
          <p class="muted help">{data.info.help || 'No help text.'}</p>
          <Spark points={data.points} label={`${metric}, last hour`} />
          <p class="muted caption">{pictureTitle(metric, data.info)}{data.points.length > 0 && `: ${formatShort(data.points.at(-1)?.[1] ?? NaN)}`}</p>
        </>
      )}
    </article>
  );
}
