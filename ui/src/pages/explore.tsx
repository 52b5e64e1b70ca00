/** Exploring without a query language: a list of metrics, or one metric and its labels. */
import './explore.css';
import { place } from '../router';
import { MetricList } from './explore/list';
import { MetricView } from './explore/metric';

export default function ExplorePage() {
  const metric = place.value.params.get('metric') ?? '';
  return metric ? <MetricView metric={metric} key={metric} /> : <MetricList />;
}
