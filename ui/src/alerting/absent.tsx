/** In place of what only an Alertmanager knows. */
import { useApi } from '../api/use';
import { Empty } from '../components/feedback';

export function NoAlertmanager() {
  const { answer } = useApi<{ activeAlertmanagers: { url: string }[] }>('alertmanagers');
  const urls = answer?.data.activeAlertmanagers.map(({ url }) => url.replace(/\/api\/v2\/alerts$/, '')) ?? [];
  return (
    <div class="card">
      <Empty title="This server runs no Alertmanager">
        <p>Start it with <code>--alertmanager.config-file</code> to see here which alerts are notified, and to silence them.</p>
        {urls.length > 0 && (
          <p>
            Its alerts are sent to {urls.map((url, i) => [i > 0 && ', ', /^https?:/.test(url) ? <a key={url} href={url} target="_blank" rel="noopener noreferrer">{url}</a> : url])}, whose own pages show silences.
          </p>
        )}
      </Empty>
    </div>
  );
}
