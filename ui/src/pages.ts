/** All pages: their paths, which are Prometheus's where it has the page, and their code, which is loaded when it is needed. */
import type { ComponentType } from 'preact';

export interface Page {
  path: string;
  title: string;
  group: 'Data' | 'Alerting' | 'Scraping' | 'Server';
  load: () => Promise<{ default: ComponentType }>;
}

export const PAGES: Page[] = [
  { path: 'query', title: 'Query', group: 'Data', load: () => import('./query/page') },
  { path: 'explore', title: 'Explore', group: 'Data', load: () => import('./pages/explore') },
  { path: 'dashboards', title: 'Dashboards', group: 'Data', load: () => import('./dashboards/page') },
  { path: 'alerts', title: 'Alerts', group: 'Alerting', load: () => import('./pages/alerts') },
  { path: 'rules', title: 'Rules', group: 'Alerting', load: () => import('./pages/rules') },
  { path: 'notifications', title: 'Notifications', group: 'Alerting', load: () => import('./alerting/notifications') },
  { path: 'silences', title: 'Silences', group: 'Alerting', load: () => import('./alerting/silences') },
  { path: 'targets', title: 'Targets', group: 'Scraping', load: () => import('./pages/targets') },
  { path: 'service-discovery', title: 'Service discovery', group: 'Scraping', load: () => import('./pages/discovery') },
  { path: 'cluster', title: 'Cluster', group: 'Server', load: () => import('./pages/cluster') },
  { path: 'tsdb-status', title: 'Cardinality', group: 'Server', load: () => import('./pages/tsdb') },
  { path: 'blocks', title: 'Blocks', group: 'Server', load: () => import('./pages/blocks') },
  { path: 'queries', title: 'Running queries', group: 'Server', load: () => import('./pages/running') },
  { path: 'status', title: 'Status', group: 'Server', load: () => import('./pages/status') },
  { path: 'config', title: 'Configuration', group: 'Server', load: () => import('./pages/config') },
  { path: 'flags', title: 'Flags', group: 'Server', load: () => import('./pages/flags') },
];

/** Other names of pages. */
export const ALIASES: Record<string, string> = { '': 'query', graph: 'query' };
