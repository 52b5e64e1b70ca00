/** The queries that run now, and a way to cancel them. */
import { useState } from 'preact/hooks';
import { apiUrl, failureOf, headers } from '../api/client';
import { open } from '../api/envelope';
import { useApi } from '../api/use';
import { Banner, Empty, Loadable } from '../components/feedback';
import { formatSeconds } from '../format/duration';
import { formatBytes, formatCount } from '../format/number';
import { QueryLink } from '../components/parts';

interface ActiveQuery {
  id: string;
  tenant: string;
  endpoint: string;
  query: string;
  started: string;
  elapsedSeconds: number;
  stage: string;
  memoryBytes: number;
  samplesRead: number;
}

async function cancel(id: string): Promise<string> {
  try {
    const response = await fetch(apiUrl(`status/active_queries/${encodeURIComponent(id)}`), { method: 'DELETE', headers: headers() });
    open(response.status, await response.text());
    return '';
  } catch (error) {
    return failureOf(error).message;
  }
}

export default function RunningPage() {
  const loaded = useApi<ActiveQuery[]>('status/active_queries', {}, 2000);
  const [problem, setProblem] = useState('');
  const end = async (id: string) => {
    setProblem(await cancel(id));
    loaded.reload();
  };
  return (
    <>
      <div class="page-head"><h1>Running queries</h1></div>
      <div class="stack">
        {problem && <Banner tone="bad">The query was not cancelled: {problem}</Banner>}
        <Loadable of={loaded}>
          {(queries) =>
            queries.length === 0 ? (
              <div class="card"><Empty title="No query is running"><p>Queries of this tenant on this node appear here while they run. The list refreshes every two seconds.</p></Empty></div>
            ) : (
              <div class="card scroll">
                <table class="grid narrow">
                  <thead><tr><th>Query</th><th>Stage</th><th class="number">Time</th><th class="number">Samples read</th><th class="number">Memory</th><th><span class="visually-hidden">Cancel</span></th></tr></thead>
                  <tbody>
                    {queries.map((query) => (
                      <tr key={query.id}>
                        <td class="wrap"><QueryLink expr={query.query} class="mono">{query.query || '(none)'}</QueryLink><div class="muted">{query.endpoint}</div></td>
                        <td>{query.stage}</td>
                        <td class="number">{formatSeconds(query.elapsedSeconds)}</td>
                        <td class="number">{formatCount(query.samplesRead)}</td>
                        <td class="number">{formatBytes(query.memoryBytes)}</td>
                        <td><button type="button" class="button danger" onClick={() => end(query.id)}>Cancel</button></td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )
          }
        </Loadable>
      </div>
    </>
  );
}
