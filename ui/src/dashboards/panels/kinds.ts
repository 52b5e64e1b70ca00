/** All kinds of pictures by Grafana's names. A new kind is one line here. */
import type { ComponentType } from 'preact';
import { BarGauge } from './bar-gauge';
import { Gauge } from './gauge';
import { Heatmap } from './heatmap';
import { Pie } from './pie';
import { Stat } from './stat';
import { States } from './states';
import { TablePicture } from './table';
import { TimeSeries } from './time-series';
import type { PictureProps } from './types';

export const KINDS: Record<string, ComponentType<PictureProps>> = {
  timeseries: TimeSeries,
  stat: Stat,
  gauge: Gauge,
  bargauge: BarGauge,
  barchart: BarGauge,
  table: TablePicture,
  heatmap: Heatmap,
  piechart: Pie,
  'state-timeline': States,
  'status-history': States,
};

/** Kinds that ask this server nothing: they show what only Grafana has. */
export const OF_GRAFANA: Record<string, string> = {
  dashlist: 'a list of Grafana’s dashboards',
  alertlist: 'a list of Grafana’s alerts',
  annolist: 'a list of Grafana’s annotations',
  news: 'a feed of news',
  gettingstarted: 'Grafana’s first steps',
  welcome: 'Grafana’s welcome',
};
