/** What a metric is, and the query that shows it best. */
import { useEffect, useState } from 'preact/hooks';
import { get } from '../../api/client';
import { labelName, selector } from '../../format/series';

export interface MetricInfo {
  type: string;
  unit: string;
  help: string;
}

const UNKNOWN: MetricInfo = { type: 'unknown', unit: '', help: '' };

/** Looks up the metadata of a metric, also under the name of its family. */
export async function lookUp(metric: string, signal: AbortSignal): Promise<MetricInfo> {
  for (const name of new Set([metric, metric.replace(/_(total|count|sum|bucket)$/, '')])) {
    const { data } = await get<Record<string, MetricInfo[]>>('metadata', { metric: name, limit: '1' }, signal);
    const found = data[name]?.[0];
    if (found) return found;
  }
  return UNKNOWN;
}

export function useMetricInfo(metric: string): MetricInfo | null {
  const [info, setInfo] = useState<MetricInfo | null>(null);
  useEffect(() => {
    const abort = new AbortController();
    lookUp(metric, abort.signal).then(setInfo, () => abort.signal.aborted || setInfo(UNKNOWN));
    return () => abort.abort();
  }, [metric]);
  return info;
}

/** Whether the metric only ever grows, so that its rate says more than its value. */
export function isCounter(metric: string, info: MetricInfo): boolean {
  if (info.type === 'gauge' || info.type === 'info' || info.type === 'stateset') return false;
  return info.type === 'counter' || /_(total|count|sum|bucket)$/.test(metric);
}

/** The query that shows a metric over time, by a label if one is given. */
export function pictureQuery(metric: string, info: MetricInfo, matchers: string[] = [], by = ''): string {
  const series = selector(metric, matchers);
  const grouping = by ? ` by (${labelName(by)}) ` : ' ';
  if (info.type === 'histogram' && !/_(count|sum|bucket)$/.test(metric)) return `histogram_quantile(0.95, sum${grouping}(rate(${series}[5m])))`;
  if (metric.endsWith('_bucket')) return `histogram_quantile(0.95, sum by (le${by && by !== 'le' ? `, ${labelName(by)}` : ''}) (rate(${series}[5m])))`;
  if (isCounter(metric, info)) return `sum${grouping}(rate(${series}[5m]))`;
  return `avg${grouping}(${series})`;
}

/** What the picture shows, in words. */
export function pictureTitle(metric: string, info: MetricInfo): string {
  if ((info.type === 'histogram' && !/_(count|sum)$/.test(metric)) || metric.endsWith('_bucket')) return '95% are below';
  return isCounter(metric, info) ? 'Rate per second, sum' : 'Average';
}
