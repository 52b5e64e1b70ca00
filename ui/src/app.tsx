/** The frame around every page: navigation, tenant and time zone. */
import { Component, type ComponentChildren, type ComponentType } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Banner, Empty, Loading } from './components/feedback';
import { PageLink } from './components/parts';
import { Notifications } from './notifications';
import { ALIASES, PAGES, type Page } from './pages';
import { href, navigate, place } from './router';
import { chooseTenant, recentTenants, tenant, zone } from './settings';

const serverTitle = document.title;

export function App() {
  const [isOpen, setOpen] = useState(false);
  const { page: name, params } = place.value;
  const alias = ALIASES[name];
  useEffect(() => {
    if (alias !== undefined) navigate(href(alias, params), { replace: true });
    setOpen(false);
  }, [name]);
  const page = PAGES.find((page) => page.path === (alias ?? name));
  useEffect(() => {
    document.title = page ? `${page.title} · ${serverTitle}` : serverTitle;
  }, [page]);
  return (
    <>
      <a class="skip" href="#main">Skip to the page</a>
      <Sidebar current={page} isOpen={isOpen} toggle={() => setOpen(!isOpen)} />
      <main id="main" tabIndex={-1}>
        <Notifications />
        {page ? <Loaded page={page} key={page.path} /> : <Unknown name={name} />}
      </main>
    </>
  );
}

function Unknown({ name }: { name: string }) {
  return (
    <Empty title="There is no such page">
      <p>Nothing is at <code>/{name}</code>. <PageLink page="query">Open the query page</PageLink>.</p>
    </Empty>
  );
}

const GROUPS = ['Data', 'Alerting', 'Scraping', 'Server'] as const;

function Sidebar({ current, isOpen, toggle }: { current?: Page; isOpen: boolean; toggle: () => void }) {
  return (
    <div class={`sidebar${isOpen ? ' is-open' : ''}`}>
      <div class="sidebar-head">
        <PageLink page="query" class="brand"><img src={href('favicon.svg')} alt="" />{serverTitle}</PageLink>
        <button type="button" class="button menu-button" aria-expanded={isOpen} onClick={toggle}>Menu</button>
      </div>
      <nav class="nav-groups" aria-label="Pages">
        {GROUPS.map((group) => (
          <section key={group}>
            <h2>{group}</h2>
            <ul>
              {PAGES.filter((page) => page.group === group).map((page) => (
                <li key={page.path}>
                  <PageLink page={page.path} aria-current={page === current ? 'page' : undefined}>{page.title}</PageLink>
                </li>
              ))}
            </ul>
          </section>
        ))}
      </nav>
      <footer>
        <Tenant />
        <label>
          Times
          <select class="field" value={zone.value} onChange={(event) => { zone.value = event.currentTarget.value === 'utc' ? 'utc' : 'local'; }}>
            <option value="local">Local ({Intl.DateTimeFormat().resolvedOptions().timeZone})</option>
            <option value="utc">UTC</option>
          </select>
        </label>
      </footer>
    </div>
  );
}

function Tenant() {
  const field = useRef<HTMLInputElement>(null);
  return (
    <label>
      Tenant
      <input
        ref={field}
        class="field"
        list="tenants"
        placeholder="anonymous"
        value={tenant.value}
        spellcheck={false}
        autocomplete="off"
        onChange={(event) => chooseTenant(event.currentTarget.value.trim())}
      />
      <datalist id="tenants">
        {recentTenants.value.map((name) => <option key={name} value={name} />)}
      </datalist>
    </label>
  );
}

/** Loads the code of a page and shows it. */
function Loaded({ page }: { page: Page }) {
  const [Body, setBody] = useState<ComponentType | null>(null);
  const [error, setError] = useState('');
  useEffect(() => {
    let isCurrent = true;
    page.load().then(
      (module) => isCurrent && setBody(() => module.default),
      () => isCurrent && setError('This page could not be loaded. The server may be down, or it was updated: load the page again.'),
    );
    return () => { isCurrent = false; };
  }, [page]);
  if (error) {
    return <Banner tone="bad" action={<button type="button" class="button" onClick={() => location.reload()}>Load again</button>}>{error}</Banner>;
  }
  return Body ? <Guard><Body /></Guard> : <Loading />;
}

/** Keeps a fault of one page from taking the navigation with it. */
class Guard extends Component<{ children: ComponentChildren }, { fault: string }> {
  override state = { fault: '' };

  static override getDerivedStateFromError(error: unknown) {
    return { fault: error instanceof Error ? error.message : String(error) };
  }

  override render() {
    if (!this.state.fault) return this.props.children;
    return (
      <Banner tone="bad" action={<button type="button" class="button" onClick={() => location.reload()}>Load again</button>}>
        <strong>This page has a fault.</strong> {this.state.fault}
      </Banner>
    );
  }
}
