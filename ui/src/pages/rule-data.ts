/** The rules of the API, as the pages Alerts and Rules read them. */
import type { LabelMap } from '../format/series';

export type AlertState = 'firing' | 'pending' | 'inactive' | 'unknown';

export interface Alert {
  labels: LabelMap;
  annotations: LabelMap;
  state: AlertState;
  activeAt?: string;
  value: string;
}

export interface Rule {
  type: 'alerting' | 'recording';
  name: string;
  query: string;
  labels?: LabelMap;
  health: 'ok' | 'err' | 'unknown';
  lastError?: string;
  /** Seconds. */
  evaluationTime: number;
  lastEvaluation: string;
  /** Seconds for which the condition must hold; alerting rules only. */
  duration?: number;
  keepFiringFor?: number;
  annotations?: LabelMap;
  alerts?: Alert[];
  state?: AlertState;
}

export interface Group {
  name: string;
  file: string;
  /** Seconds. */
  interval: number;
  rules: Rule[];
  evaluationTime: number;
  lastEvaluation: string;
}

export interface RulesData {
  groups: Group[];
}

export const STATE_TONES: Record<AlertState, string> = { firing: 'bad', pending: 'warn', inactive: 'good', unknown: '' };
export const HEALTH_TONES: Record<Rule['health'], string> = { ok: 'good', err: 'bad', unknown: '' };
