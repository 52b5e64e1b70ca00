/** What an operator should know now, such as a failed reload, above every page. */
import { useApi } from './api/use';
import { Banner } from './components/feedback';
import { formatTime } from './format/time';

interface Notification {
  text: string;
  /** When it was last noticed, RFC 3339. */
  date: string;
  active: boolean;
}

/** How often the server is asked. A stream would hold one of the few connections that a browser makes to a host. */
const INTERVAL_MS = 15_000;

export function Notifications() {
  const { answer } = useApi<Notification[]>('notifications', {}, INTERVAL_MS);
  const active = (answer?.data ?? []).filter((notification) => notification.active);
  return (
    <>
      {active.map(({ text, date }) => (
        <Banner key={text} tone="warn">
          {text} <small>since {formatTime(Date.parse(date))}</small>
        </Banner>
      ))}
    </>
  );
}
