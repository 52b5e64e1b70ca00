/** What became of notifications, from the counters of the process. */

export interface Delivery {
  integration: string;
  receiver: string;
  sent: number;
  failed: number;
  /** Failures by reason, those that happened. */
  reasons: [reason: string, count: number][];
}

const LINE = /^(alertmanager_notifications(?:_failed)?_total)\{(.*)\} (\S+)/;
const LABEL = /(\w+)="((?:[^"\\]|\\.)*)"/g;

/** Reads deliveries from metrics in the text format. */
export function readDeliveries(text: string): Delivery[] {
  const found = new Map<string, Delivery>();
  for (const line of text.split('\n')) {
    const [, metric, written = '', count] = LINE.exec(line) ?? [];
    if (!metric) continue;
    const labels = Object.fromEntries([...written.matchAll(LABEL)].map(([, name, value]) => [name, value]));
    const [integration, receiver, value] = [labels.integration ?? '', labels.receiver_name ?? '', Number(count)];
    const key = `${receiver} ${integration}`;
    const delivery: Delivery = found.get(key) ?? { integration, receiver, sent: 0, failed: 0, reasons: [] };
    found.set(key, delivery);
    if (metric === 'alertmanager_notifications_total') delivery.sent += value;
    else if (value > 0) {
      delivery.failed += value;
      delivery.reasons.push([labels.reason ?? '', value]);
    }
  }
  return [...found.values()].filter(({ sent, failed }) => sent + failed > 0).sort((a, b) => b.failed - a.failed || b.sent - a.sent);
}
