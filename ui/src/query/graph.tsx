/** The graph of a range query: chart and legend. */
import { useEffect, useMemo, useState } from 'preact/hooks';
import { get } from '../api/client';
import { Chart, type Exemplar } from '../chart/chart';
import { heatOf } from '../chart/heat';
import type { ValueAxis } from '../chart/look';
import { Banner, Notices } from '../components/feedback';
import { formatShort, parseValue } from '../format/number';
import type { LabelMap } from '../format/series';
import { Legend } from './legend';
import type { Panel } from './panel';
import type { Graph } from './result';
import { NoSeries } from './table';

interface ApiExemplars {
  seriesLabels: LabelMap;
  exemplars: { labels: LabelMap; value: string; timestamp: number }[];
}

const MAX_EXEMPLARS = 500;

function useExemplars(panel: Panel, graph: Graph): { exemplars: Exemplar[]; warnings: string[] } {
  const [found, setFound] = useState<{ exemplars: Exemplar[]; warnings: string[] }>({ exemplars: [], warnings: [] });
  useEffect(() => {
    setFound({ exemplars: [], warnings: [] });
    if (!panel.hasExemplars) return;
    const abort = new AbortController();
    const { times } = graph;
    const params = { query: panel.expr, start: String(times[0]), end: String(times[times.length - 1]) };
    get<ApiExemplars[]>('query_exemplars', params, abort.signal).then(
      ({ data, warnings }) => {
        const all = data.flatMap(({ seriesLabels, exemplars }) =>
          exemplars.map(({ labels, value, timestamp }) => ({ labels, series: seriesLabels, time: timestamp, value: parseValue(value) })),
        );
        const more = all.length > MAX_EXEMPLARS ? [`Only the latest ${MAX_EXEMPLARS} of ${all.length} exemplars are shown.`] : [];
        setFound({ exemplars: all.sort((a, b) => b.time - a.time).slice(0, MAX_EXEMPLARS), warnings: [...warnings, ...more] });
      },
      (error: Error) => abort.signal.aborted || setFound({ exemplars: [], warnings: [`Exemplars are missing: ${error.message}`] }),
    );
    return () => abort.abort();
  }, [panel.hasExemplars, graph]);
  return found;
}

export function GraphView({ graph, panel, onZoom }: { graph: Graph; panel: Panel; onZoom: (startMs: number, endMs: number) => void }) {
  const [hidden, setHidden] = useState<ReadonlySet<number>>(new Set());
  const [focused, setFocused] = useState(-1);
  const names = useMemo(() => JSON.stringify(graph.lines.map(({ labels }) => labels)), [graph]);
  useEffect(() => setHidden(new Set()), [names]);
  const shown = useMemo(() => [...graph.lines.keys()].filter((line) => !hidden.has(line)), [graph, hidden]);
  const axes = useMemo((): ValueAxis[] => [{ min: panel.yMin, max: null, isLog: false, format: (value) => formatShort(value), label: '' }], [panel.yMin]);
  const { exemplars, warnings } = useExemplars(panel, graph);
  const canHeat = useMemo(() => panel.mode === 'heatmap' && heatOf(graph) !== null, [graph, panel.mode]);

  if (graph.lines.length === 0 && graph.heat.length === 0) return <NoSeries />;
  // Native histograms have no line; the heatmap is their only picture.
  const isOnlyHistograms = graph.lines.length === 0;
  const mode = isOnlyHistograms || canHeat ? 'heatmap' : panel.mode === 'heatmap' ? 'lines' : panel.mode;
  return (
    <>
      <Notices warnings={warnings} />
      {panel.mode === 'heatmap' && mode === 'lines' && (
        <Banner tone="info">A heatmap needs native histograms, or the buckets of a classic one, like <code>sum by (le) (rate(name_bucket[5m]))</code>. Lines are shown instead.</Banner>
      )}
      {mode !== 'heatmap' && graph.heat.length > 0 && <Banner tone="info">Some series are histograms, which lines cannot show. Choose the heatmap to see them.</Banner>}
      <Chart graph={graph} mode={mode} shown={shown} focused={focused} exemplars={exemplars} axes={axes} height={340} onZoom={onZoom} />
      {mode !== 'heatmap' && <Legend lines={graph.lines} hidden={hidden} setHidden={setHidden} onFocus={setFocused} />}
    </>
  );
}
