/** What a page says about itself: loading, empty, failed, or less than complete. */
import type { ComponentChildren } from 'preact';
import type { Failure } from '../api/client';
import type { Loaded } from '../api/use';

type Tone = 'good' | 'warn' | 'bad' | 'info';

const MARKS: Record<Tone, string> = { good: '✓', warn: '⚠', bad: '✕', info: 'ℹ' };

export function Banner({ tone, children, action }: { tone: Tone; children: ComponentChildren; action?: ComponentChildren }) {
  return (
    <div class={`banner ${tone}`} role={tone === 'info' || tone === 'good' ? 'status' : 'alert'}>
      <span aria-hidden="true">{MARKS[tone]}</span>
      <div>{children}</div>
      {action}
    </div>
  );
}

export function Loading({ what = 'Loading' }: { what?: string }) {
  return (
    <div class="loading" role="status">
      <i class="spinner" /> {what}…
    </div>
  );
}

export function Empty({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="empty">
      <strong>{title}</strong>
      {children}
    </div>
  );
}

const TITLES: Record<string, string> = {
  network: 'No answer',
  bad_data: 'The request is not valid',
  execution: 'The query failed',
  timeout: 'The query took too long',
  canceled: 'The query was cancelled',
  unavailable: 'The server cannot answer at the moment',
  too_many_requests: 'Too many queries are waiting',
  not_found: 'Not found',
};

export function FailureBanner({ failure, retry }: { failure: Failure; retry?: () => void }) {
  return (
    <Banner tone="bad" action={retry && <button type="button" class="button" onClick={retry}>Try again</button>}>
      <strong>{TITLES[failure.kind] ?? 'The request failed'}.</strong> {failure.message}
    </Banner>
  );
}

/** What an answer warns of. Warnings mean that it may lack something, so they come first and stay. */
export function Notices({ warnings, infos = [] }: { warnings: string[]; infos?: string[] }) {
  return (
    <>
      {warnings.length > 0 && (
        <Banner tone="warn">
          <strong>This answer may be incomplete or misleading.</strong>
          <List items={warnings} />
        </Banner>
      )}
      {infos.length > 0 && (
        <Banner tone="info">
          <List items={infos} />
        </Banner>
      )}
    </>
  );
}

function List({ items }: { items: string[] }) {
  if (items.length === 1) return <p>{items[0]}</p>;
  return (
    <ul>
      {items.map((item) => (
        <li key={item}>{item}</li>
      ))}
    </ul>
  );
}

/** Shows the failure, the warnings and the data of a request, whichever there are. */
export function Loadable<T>({ of, children }: { of: Loaded<T>; children: (data: T) => ComponentChildren }) {
  return (
    <>
      {of.failure && <FailureBanner failure={of.failure} retry={of.reload} />}
      {of.answer && <Notices warnings={of.answer.warnings} infos={of.answer.infos} />}
      {of.answer ? children(of.answer.data) : of.isLoading && <Loading />}
    </>
  );
}
