/** How the server evaluates a query: each operator with what it read and produced, and the time it took. */
import { useEffect, useState } from 'preact/hooks';
import { type Answer, type Failure, failureOf, post } from '../api/client';
import { Banner, FailureBanner, Loading } from '../components/feedback';
import { Segments } from '../components/parts';
import { formatSeconds } from '../format/duration';
import { formatBytes, formatShort } from '../format/number';
import { type Panel } from './panel';
import { gridOf } from './run';

interface PlanNode {
  operator: string;
  details?: Record<string, string>;
  /** What is evaluated where the samples are. */
  pushed?: Record<string, string>;
  actual?: { series: number; samples: number; samplesRead: number; seconds: number; peakBytes: number; bytesRead: number; requests: number };
  children: PlanNode[];
}

interface Explained {
  explain: { logical: PlanNode; physical: PlanNode };
}

type Over = 'range' | 'moment';

export function ExplainView({ panel, turn }: { panel: Panel; turn: number }) {
  const [over, setOver] = useState<Over>('range');
  const [answer, setAnswer] = useState<Answer<Explained> | null>(null);
  const [failure, setFailure] = useState<Failure | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    setAnswer(null);
    setFailure(null);
    const { start, step, count } = gridOf(panel, Date.now());
    const end = (start + (count - 1) * step).toFixed(3);
    const times = over === 'range' ? { start: String(start), end, step: String(step) } : { time: end };
    const params = { query: panel.expr, analyze: 'true', limit: '1', ...times };
    post<Explained>(over === 'range' ? 'query_range' : 'query', params, abort.signal).then(setAnswer, (error) => abort.signal.aborted || setFailure(failureOf(error)));
    return () => abort.abort();
  }, [panel.expr, panel.rangeMs, panel.endMs, panel.resolution, over, turn]);
  const plan = answer?.data.explain.physical;
  return (
    <div class="stack">
      <div class="row">
        <Segments<Over> label="Evaluate" value={over} options={[['range', 'Over the range'], ['moment', 'At its end']]} onChange={setOver} />
        <span class="muted">The query ran once for this; figures include the operators below.</span>
      </div>
      {failure && <FailureBanner failure={failure} />}
      {!plan && !failure && <Loading what="Evaluating" />}
      {plan && (
        <ul class="plan" aria-label="Plan">
          <Operator node={plan} total={plan.actual?.seconds ?? 0} depth={0} />
        </ul>
      )}
    </div>
  );
}

const MAX_DEPTH = 60;

function Operator({ node, total, depth }: { node: PlanNode; total: number; depth: number }) {
  const { operator, details = {}, pushed = {}, actual, children } = node;
  const share = actual && total > 0 ? Math.min(1, actual.seconds / total) : 0;
  return (
    <li>
      <div class="plan-node">
        <strong>{operator}</strong>
        <span class="labels">
          {Object.entries(details).map(([name, value]) => <span class="label" key={name}><b>{name}</b> {value}</span>)}
          {Object.entries(pushed).map(([name, value]) => <span class="label" key={`pushed ${name}`}><b>{name}</b> {value} <span class="badge info">on the nodes</span></span>)}
        </span>
        {actual && (
          <span class="plan-figures">
            <span class="bar" title={`${Math.round(100 * share)}% of the query's time`}><i style={{ width: `${100 * share}%` }} /></span>
            {formatSeconds(actual.seconds)} · {formatShort(actual.series)} series · {formatShort(actual.samples)} samples
            {actual.samplesRead > 0 && ` · read ${formatShort(actual.samplesRead)} samples`}
            {actual.bytesRead > 0 && ` (${formatBytes(actual.bytesRead)})`}
            {actual.requests > 0 && ` · ${formatShort(actual.requests)} requests`}
            {actual.peakBytes > 0 && ` · peak ${formatBytes(actual.peakBytes)}`}
          </span>
        )}
      </div>
      {children.length > 0 && depth < MAX_DEPTH && (
        <ul>{children.map((child, i) => <Operator key={i} node={child} total={total} depth={depth + 1} />)}</ul>
      )}
      {children.length > 0 && depth >= MAX_DEPTH && <Banner tone="info">The plan is deeper than this page shows.</Banner>}
    </li>
  );
}
