/** A dashboard as this page shows it. `read` makes it from Grafana's JSON of any version. */
import type { Json } from './read/json';

export interface Dashboard {
  uid: string;
  title: string;
  description: string;
  tags: string[];
  /** The range to begin with, in Grafana's words: `now-1h`. */
  from: string;
  to: string;
  /** The refresh interval to begin with, such as `30s`; empty for none. */
  refresh: string;
  timezone: 'utc' | 'browser';
  variables: Variable[];
  sections: Section[];
  links: Link[];
  /** What of the JSON is not shown, in words. */
  notes: string[];
  /** The JSON as it was opened. */
  source: Json;
}

export interface Link {
  title: string;
  url: string;
}

/** A row with its panels. The first one has no title if panels come before any row. */
export interface Section {
  id: string;
  title: string | null;
  isCollapsed: boolean;
  /** The variable for whose values the row is repeated, or empty. */
  repeat: string;
  panels: Panel[];
}

/** A place on a grid of 24 columns. */
export interface Place {
  x: number;
  y: number;
  w: number;
  h: number;
}

export interface Panel {
  id: number;
  title: string;
  description: string;
  /** The kind of picture; kinds of old versions have their successor's name. */
  kind: string;
  place: Place;
  repeat: string;
  repeatDirection: 'h' | 'v';
  maxPerRow: number;
  isTransparent: boolean;
  queries: Query[];
  /** Why the panel's data cannot be asked for, or empty. */
  refusal: string;
  /** The panel whose data is shown, or null. */
  dataOf: number | null;
  maxDataPoints: number | null;
  /** The shortest step, such as `1m`, or empty. */
  interval: string;
  timeFrom: string;
  timeShift: string;
  transformations: Transformation[];
  field: FieldConfig;
  overrides: Override[];
  /** The options of the kind of picture, as Grafana has them. */
  options: Json;
  links: Link[];
}

export interface Query {
  refId: string;
  expr: string;
  legend: string;
  isInstant: boolean;
  isRange: boolean;
  format: 'time_series' | 'table' | 'heatmap';
  interval: string;
  intervalFactor: number;
  isHidden: boolean;
}

export interface Transformation {
  id: string;
  options: Json;
}

export interface Threshold {
  /** -Infinity for the first one. */
  value: number;
  color: string;
}

export interface Mapping {
  kind: 'value' | 'range' | 'regex' | 'special';
  /** The value, the pattern, or the special match (`null`, `nan`, `null+nan`, `true`, `false`, `empty`). */
  match: string;
  from: number;
  to: number;
  text: string | null;
  color: string;
}

/** How a field's values are shown. */
export interface FieldConfig {
  unit: string;
  decimals: number | null;
  min: number | null;
  max: number | null;
  displayName: string;
  noValue: string;
  thresholds: Threshold[];
  isPercentage: boolean;
  mappings: Mapping[];
  /** Grafana's mode of colours: `thresholds`, `fixed`, `palette-classic`, … */
  colorMode: string;
  fixedColor: string;
  /** What only some kinds of pictures know, such as `lineWidth`. */
  custom: Json;
  links: Link[];
}

export interface Override {
  matcher: { id: string; options: unknown };
  properties: { id: string; value: unknown }[];
}

export type VariableKind = 'query' | 'custom' | 'interval' | 'datasource' | 'constant' | 'textbox' | 'adhoc' | 'unknown';

export interface Option {
  text: string;
  value: string;
}

export interface Variable {
  name: string;
  label: string;
  kind: VariableKind;
  isHidden: boolean;
  isMulti: boolean;
  hasAll: boolean;
  /** What "All" stands for, if not every option. */
  allValue: string;
  /** The query, or the list of options or the text. */
  query: string;
  regex: string;
  sort: number;
  /** The values to begin with; `$__all` stands for all. */
  initial: string[];
  /** Options that the JSON has. */
  options: Option[];
}

/** The value that stands for all options. */
export const ALL = '$__all';

/** A variable with its chosen values and known options. */
export interface Chosen {
  variable: Variable;
  values: string[];
  options: Option[];
  /** Whether there are more options than are listed. */
  isTruncated: boolean;
  /** Asks the server for options that match what is typed, where not all are listed. */
  search?: (typed: string, signal: AbortSignal) => Promise<Option[]>;
}

export const emptyField = (): FieldConfig => ({
  unit: '',
  decimals: null,
  min: null,
  max: null,
  displayName: '',
  noValue: '',
  thresholds: [],
  isPercentage: false,
  mappings: [],
  colorMode: '',
  fixedColor: '',
  custom: {},
  links: [],
});
