/** One metric: its picture, its labels, and the breakdown by one of them. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { type Failure, failureOf, get } from '../../api/client';
import { inTurn } from '../../api/turns';
import { useApi } from '../../api/use';
import { Empty, FailureBanner, Loadable, Loading } from '../../components/feedback';
import { PageLink, QueryLink, Segments } from '../../components/parts';
import { formatCount, formatShort, parseValue, plural } from '../../format/number';
import { labelName, quote, selector } from '../../format/series';
import { GraphView } from '../../query/graph';
import { newPanel } from '../../query/panel';
import type { QueryResult } from '../../query/result';
import { runRange } from '../../query/run';
import { place, setParams } from '../../router';
import { tenant } from '../../settings';
import { type MetricInfo, pictureQuery, pictureTitle, useMetricInfo } from './metric-info';

const RANGES: [text: string, ms: number][] = [['1h', 3_600_000], ['6h', 21_600_000], ['1d', 86_400_000], ['1w', 604_800_000]];
const MAX_VALUES = 50;
const MAX_LINES = 20;

/** Matchers in the address: `name=value`, one for each parameter `with`. */
const chosen = (): [name: string, value: string][] =>
  place.value.params.getAll('with').map((pair) => [pair.slice(0, pair.indexOf('=')), pair.slice(pair.indexOf('=') + 1)]);

function address(metric: string, matchers: [string, string][], by: string): string {
  const params = new URLSearchParams({ metric });
  for (const [name, value] of matchers) params.append('with', `${name}=${value}`);
  if (by) params.set('by', by);
  return params.toString();
}

export function MetricView({ metric }: { metric: string }) {
  const info = useMetricInfo(metric);
  const [range, setRange] = useState('1h');
  const matchers = chosen();
  const by = place.value.params.get('by') ?? '';
  const written = matchers.map(([name, value]) => `${labelName(name)}=${quote(value)}`);
  const query = info && pictureQuery(metric, info, written, by);
  const shownQuery = query && (by ? `topk(${MAX_LINES}, ${query})` : query);
  return (
    <>
      <div class="page-head">
        <PageLink page="explore">Explore</PageLink> <span class="muted">›</span>
        <h1 class="mono wrap">{metric}</h1>
        {info && <span class="badge info">{info.type}</span>}
        {info?.unit && <span class="badge">{info.unit}</span>}
      </div>
      <div class="stack">
        {info?.help && <p>{info.help}</p>}
        {matchers.length > 0 && (
          <div class="row">
            <span class="muted">Only</span>
            {matchers.map(([name, value], i) => (
              <MatcherLink key={`${name}=${value}`} search={address(metric, matchers.toSpliced(i, 1), by)} title="Remove this condition">
                {labelName(name)}={quote(value)} ✕
              </MatcherLink>
            ))}
          </div>
        )}
        <section class="card">
          <header>
            <h2>{info ? pictureTitle(metric, info) : 'Picture'}{by && ` by ${by}`}</h2>
            <span class="spacer" />
            <Segments<string> label="Range" value={range} options={RANGES.map(([text]) => [text, text])} onChange={setRange} />
            {shownQuery && <QueryLink expr={shownQuery} range={range} class="button">Open the query</QueryLink>}
          </header>
          <div class="body">{shownQuery && <Picture query={shownQuery} rangeMs={RANGES.find(([text]) => text === range)?.[1] ?? 3_600_000} />}</div>
        </section>
        <div class="columns">
          <LabelList metric={metric} matchers={written} by={by} searchFor={(by) => address(metric, matchers, by)} />
          {by && <Values metric={metric} matchers={written} by={by} info={info} searchFor={(value) => address(metric, [...matchers.filter(([name]) => name !== by), [by, value]], '')} />}
        </div>
      </div>
    </>
  );
}

/** A link to this page whose parameters may repeat a name. */
function MatcherLink({ search, title, children }: { search: string; title: string; children: preact.ComponentChildren }) {
  return <a href={`?${search}`} data-page="explore" class="label" title={title}>{children}</a>;
}

function Picture({ query, rangeMs }: { query: string; rangeMs: number }) {
  const [result, setResult] = useState<QueryResult | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  const panel = useMemo(() => newPanel({ expr: query, rangeMs, tab: 'graph' }), [query, rangeMs]);
  useEffect(() => {
    const abort = new AbortController();
    setFailure(null);
    runRange(panel, abort.signal).then(setResult, (error) => abort.signal.aborted || setFailure(failureOf(error)));
    return () => abort.abort();
  }, [panel, tenant.value]);
  if (failure) return <FailureBanner failure={failure} />;
  if (!result) return <Loading what="Drawing" />;
  return result.result.type === 'graph' ? <GraphView graph={result.result} panel={panel} onZoom={() => {}} /> : null;
}

function LabelList({ metric, matchers, by, searchFor }: { metric: string; matchers: string[]; by: string; searchFor: (by: string) => string }) {
  const start = useMemo(() => String(Math.floor(Date.now() / 1000) - 3600), [metric]);
  const loaded = useApi<string[]>('labels', { 'match[]': selector(metric, matchers), limit: '200', start });
  return (
    <section class="card">
      <header><h2>Labels</h2><span class="muted">Choose one to break the metric down by it.</span></header>
      <Loadable of={loaded}>
        {(names) => {
          const labels = names.filter((name) => name !== '__name__');
          if (labels.length === 0) return <Empty title="No labels"><p>The metric has none, or no series of the last hour matches.</p></Empty>;
          return (
            <ul class="choices">
              {labels.map((name) => (
                <li key={name}>
                  <LabelLink name={name} isChosen={name === by} metric={metric} matchers={matchers} search={searchFor(name === by ? '' : name)} />
                </li>
              ))}
            </ul>
          );
        }}
      </Loadable>
    </section>
  );
}

type Vector = { result: { metric: Record<string, string>; value: [number, string] }[] };

function LabelLink({ name, isChosen, metric, matchers, search }: { name: string; isChosen: boolean; metric: string; matchers: string[]; search: string }) {
  const [count, setCount] = useState<number | null>(null);
  const query = `count(count by (${labelName(name)}) (${selector(metric, [...matchers, `${labelName(name)}!=""`])}))`;
  useEffect(() => {
    const abort = new AbortController();
    inTurn(abort.signal, () => get<Vector>('query', { query }, abort.signal)).then(
      ({ data }) => setCount(Number(data.result[0]?.value[1] ?? 0)),
      // The list works without the numbers.
      () => setCount(null),
    );
    return () => abort.abort();
  }, [query]);
  return (
    <a href={`?${search}`} data-page="explore" aria-current={isChosen ? 'true' : undefined}>
      <span class="mono">{name}</span>
      <span class="muted">{count === null ? '' : plural(count, 'value')}</span>
    </a>
  );
}

function Values({ metric, matchers, by, info, searchFor }: { metric: string; matchers: string[]; by: string; info: MetricInfo | null; searchFor: (value: string) => string }) {
  const series = selector(metric, matchers);
  const counts = useApi<Vector>('query', { query: `topk(${MAX_VALUES}, count by (${labelName(by)}) (${series}))` });
  const current = useApi<Vector>(info ? 'query' : null, { query: info ? pictureQuery(metric, info, matchers, by) : '', limit: '1000' });
  const values = new Map(current.answer?.data.result.map(({ metric, value }) => [metric[by] ?? '', parseValue(value[1])]));
  return (
    <section class="card">
      <header><h2>Values of {by}</h2><button type="button" class="button plain" onClick={() => setParams({ by: '' })}>Close</button></header>
      <Loadable of={counts}>
        {({ result }) => {
          const most = Math.max(1, ...result.map(({ value }) => Number(value[1])));
          return (
            <>
              <ul class="choices">
                {result.map(({ metric: labels, value: [, count] }) => {
                  const value = labels[by] ?? '';
                  const figure = values.get(value);
                  return (
                    <li key={value}>
                      <a href={`?${searchFor(value)}`} data-page="explore">
                        <span class="mono wrap">{value === '' ? <span class="muted">(none)</span> : value}</span>
                        <span class="muted nowrap">{formatCount(Number(count))} series{figure !== undefined && <> · <strong>{formatShort(figure)}</strong></>}</span>
                        <span class="bar"><i style={{ width: `${(100 * Number(count)) / most}%` }} /></span>
                      </a>
                    </li>
                  );
                })}
              </ul>
              {result.length >= MAX_VALUES && <p class="muted more">The {MAX_VALUES} values with the most series are shown.</p>}
            </>
          );
        }}
      </Loadable>
    </section>
  );
}
