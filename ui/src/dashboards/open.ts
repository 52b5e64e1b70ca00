/** Dashboards that the server has, and those that were opened from files in this browser tab. */
import { signal } from '@preact/signals';
import { failureOf, get } from '../api/client';
import type { Dashboard } from './model';
import { readDashboard } from './read/dashboard';

/** A dashboard of the server, as it lists them. */
export interface Listed {
  name: string;
  title: string;
  tags: string[];
  origin: 'built-in' | 'folder';
  /** Why it cannot be opened, or empty. */
  error: string;
}

/** The name of the dashboard that was opened from a file or pasted. */
export const OWN = 'own';
const KEPT_AS = 'pharos.dashboard';

export const ownDashboard = signal<Dashboard | null>(null);

/** Reads a dashboard from text and keeps it until the tab is closed. Throws an error that says why the text is none. */
export function openText(text: string): Dashboard {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new Error(`This is not JSON: ${error instanceof Error ? error.message : error}`);
  }
  const dashboard = readDashboard(json);
  ownDashboard.value = dashboard;
  try {
    sessionStorage.setItem(KEPT_AS, text);
  } catch {
    // Too large for the storage: then it lasts as long as the page.
  }
  return dashboard;
}

function reopened(): Dashboard {
  if (ownDashboard.value) return ownDashboard.value;
  const kept = sessionStorage.getItem(KEPT_AS);
  if (!kept) throw new Error('The dashboard was opened from a file, which this tab no longer has. Open the file again.');
  return openText(kept);
}

/** Loads a dashboard by its name. */
export async function load(name: string, signal: AbortSignal): Promise<Dashboard> {
  if (name === OWN) return reopened();
  try {
    const { data } = await get<unknown>(`dashboards/${name.split('/').map(encodeURIComponent).join('/')}`, {}, signal);
    return readDashboard(data);
  } catch (error) {
    if (error instanceof Error && error.name === 'Error' && !('kind' in error)) throw error;
    throw failureOf(error);
  }
}
