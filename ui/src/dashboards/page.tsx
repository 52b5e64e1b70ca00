/** Dashboards: the list of those that can be opened, or one of them. */
import './dashboards.css';
import { place } from '../router';
import { Library } from './library';
import { DashboardView } from './view';

export default function DashboardsPage() {
  const name = place.value.params.get('dashboard');
  return name ? <DashboardView key={name} name={name} /> : <Library />;
}
