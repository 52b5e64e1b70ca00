/** Every page: what it shows, its main actions, and that it is usable in both themes, on a phone and with a screen reader. */
import assert from 'node:assert/strict';
import { after, before, test as withoutLimit } from 'node:test';
import { HOSTILE, openPage, picture, seriousFindings, startBrowser, startServer, until } from './helpers.js';

/** A frozen page must not hold up the tests after it. */
const test = (name, body) => withoutLimit(name, { timeout: 120_000 }, body);

let server;
let browser;
before(async () => {
  browser = await startBrowser();
  server = await startServer();
});
after(async () => {
  await browser?.close();
  await server?.stop();
});

const PAGES = {
  query: 'Query',
  explore: 'Explore',
  dashboards: 'Dashboards',
  alerts: 'Alerts',
  rules: 'Rules',
  notifications: 'Notifications',
  silences: 'Silences',
  targets: 'Targets',
  'service-discovery': 'Service discovery',
  cluster: 'Cluster',
  'tsdb-status': 'Cardinality',
  blocks: 'Blocks',
  queries: 'Running queries',
  status: 'Status',
  config: 'Configuration',
  flags: 'Flags',
};

/** The server of these tests runs no Alertmanager, which browsers report. */
const ABSENT = { notifications: [/404/], silences: [/404/] };

for (const [address, title] of Object.entries(PAGES)) {
  for (const colorScheme of ['light', 'dark']) {
    test(`the page ${title} is accessible in the ${colorScheme} theme`, async () => {
      const { page, end } = await openPage(browser, server, address, { colorScheme, allowed: ABSENT[address] });
      await page.getByRole('heading', { level: 1, name: title }).waitFor();
      await page.waitForFunction(() => !document.querySelector('main .loading'));
      assert.deepEqual(await seriousFindings(page), []);
      await picture(page, `${address}-${colorScheme}`);
      await end();
    });
  }

  test(`the page ${title} fits a phone`, async () => {
    const { page, end } = await openPage(browser, server, address, { viewport: { width: 360, height: 740 }, hasTouch: true, allowed: ABSENT[address] });
    await page.getByRole('heading', { level: 1, name: title }).waitFor();
    await page.waitForFunction(() => !document.querySelector('main .loading'));
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${width} pixels are needed`);
    await picture(page, `${address}-phone`);
    await end();
  });
}

test('pages are reached from the navigation, also on a phone', async () => {
  const { page, end } = await openPage(browser, server, 'query', { viewport: { width: 360, height: 740 } });
  await page.getByRole('button', { name: 'Menu' }).click();
  await page.getByRole('link', { name: 'Flags' }).click();
  await page.getByRole('heading', { level: 1, name: 'Flags' }).waitFor();
  await page.getByText('--storage.path').waitFor();
  await end();
});

test('a failed reload is shown above every page until one succeeds', async () => {
  const notified = async () => (await (await fetch(`${server.url}api/v1/notifications`)).json()).data.length;
  server.reload('no_such_section: {}\n');
  await until(async () => (await notified()) === 1, 'the notification', 10);
  const { page, end } = await openPage(browser, server, 'flags');
  await page.getByRole('alert').getByText('Configuration reload has failed').waitFor();
  server.reload();
  await until(async () => (await notified()) === 0, 'the end of the notification', 10);
  await page.reload();
  await page.getByRole('heading', { level: 1, name: 'Flags' }).waitFor();
  await page.waitForFunction(() => !document.querySelector('main .loading'));
  assert.equal(await page.getByText('Configuration reload has failed').count(), 0);
  await end();
});

test('targets show health, errors and relabelling, and are filtered by the address', async () => {
  const { page, end } = await openPage(browser, server, 'targets');
  await page.getByText(/connection refused/i).first().waitFor();
  await page.getByRole('button', { name: 'Down' }).click();
  await page.waitForURL(/health=down/);
  assert.equal(await page.locator('.pool').count(), 1);
  await page.getByText('From discovered to final labels').click();
  await page.getByRole('cell', { name: '__scrape_interval__' }).waitFor();
  await page.goto(`${server.url}targets?search=room&pool=rooms`);
  await page.locator('.pool', { hasText: 'rooms' }).waitFor();
  assert.equal(await page.locator('.pool').count(), 1);
  await end();
});

test('service discovery shows what relabelling dropped', async () => {
  const { page, end } = await openPage(browser, server, 'service-discovery?state=dropped');
  await page.locator('.pool', { hasText: 'dropped' }).getByText('10.0.0.1:80').first().waitFor();
  await end();
});

test('relabelling is shown rule by rule, for kept and for dropped targets', async () => {
  const { page, end } = await openPage(browser, server, 'service-discovery?search=10.0.0.1');
  await page.locator('.discovered summary').first().click();
  await page.getByText('Relabelling step by step').click();
  await page.getByText('drops the target').waitFor();
  assert.match(await page.locator('.relabel-steps code').textContent(), /^drop \[__address__\] matching \.\*$/);
  assert.deepEqual(await seriousFindings(page), []);
  await picture(page, 'relabel-steps');
  await end();
});

test('blocks are shown on a timeline by the length of their window', async () => {
  const block = (n, hours, delta) => ({ ulid: `01BLOCK${n}`, minTime: n * 7_200_000, maxTime: (n + 1) * 7_200_000, windowStart: n * 7_200_000, windowEnd: n * 7_200_000 + hours * 3_600_000, stats: { numSamples: 1000 * (n + 1), numSeries: 10 }, bytes: 5000 * (n + 1), delta, shards: 64 });
  const blocks = [block(0, 2, false), block(1, 2, false), block(1, 2, true), block(0, 8, false)];
  const routes = { '**/api/v1/status/tsdb/blocks': (route) => route.fulfill({ json: { status: 'success', data: { blocks } } }) };
  const { page, end } = await openPage(browser, server, 'blocks', { routes });
  await page.getByText('01BLOCK0').first().waitFor();
  assert.deepEqual(await page.locator('.block-lane > span').allTextContents(), ['8h', '2h']);
  assert.equal(await page.locator('.block-row').count(), 3);
  assert.equal(await page.locator('.block-row .is-delta').count(), 1);
  assert.deepEqual(await seriousFindings(page), []);
  await picture(page, 'blocks');
  await end();
});

test('the cluster shows its member and every shard', async () => {
  const { page, end } = await openPage(browser, server, 'cluster');
  await page.getByText('answers this page').waitFor();
  assert.equal(await page.getByRole('button', { name: /^Shard \d+: in sync$/ }).count(), 64);
  await page.getByRole('button', { name: 'Shard 12: in sync' }).click();
  await page.getByText(/^12, epoch/).waitFor();
  await end();
});

test('cardinality leads to the metric with the most series', async () => {
  const { page, end } = await openPage(browser, server, 'tsdb-status');
  await page.getByRole('link', { name: 'room_temperature_celsius', exact: true }).first().click();
  await page.getByRole('heading', { level: 1, name: 'room_temperature_celsius' }).waitFor();
  await end();
});

test('metrics are found, looked at, and broken down by their labels', async () => {
  const { page, end } = await openPage(browser, server, 'explore');
  await page.getByRole('searchbox', { name: /Find metrics/ }).fill('roomtemp');
  const card = page.locator('.metric').filter({ has: page.getByRole('heading', { name: 'room_temperature_celsius', exact: true }) });
  await card.getByText('40 series').waitFor();
  await card.getByText('Temperature of a room.').waitFor();
  await card.getByRole('heading').click();
  await page.locator('.choices a', { hasText: 'floor' }).click();
  await page.locator('.choices a', { hasText: '10 series' }).first().waitFor();
  await picture(page, 'explore-metric');
  await page.locator('.choices a', { hasText: '10 series' }).first().click();
  await page.getByTitle('Remove this condition').waitFor();
  await page.locator('.choices a', { hasText: 'room' }).getByText('10 values').waitFor();
  await page.getByRole('link', { name: 'Open the query' }).click();
  await page.waitForURL(/\/query\?.*floor/);
  await end();
});

test('running queries are listed and can be cancelled', async () => {
  const query = { id: '7', tenant: 'anonymous', endpoint: 'query', query: 'slow(x)', started: '', elapsedSeconds: 12.5, stage: 'evaluating', memoryBytes: 2048, samplesRead: 5 };
  let isRunning = true;
  const routes = {
    '**/status/active_queries/7': async (route) => {
      isRunning = false;
      await route.fulfill({ json: { status: 'success', data: { id: '7' } } });
    },
    '**/status/active_queries': (route) => route.fulfill({ json: { status: 'success', data: isRunning ? [query] : [] } }),
  };
  const { page, end } = await openPage(browser, server, 'queries', { routes });
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText('No query is running').waitFor();
  await end();
});

const RULES = {
  groups: [
    {
      name: `group ${HOSTILE}`, file: 'rules.yml', interval: 15, evaluationTime: 14, lastEvaluation: '2026-01-01T00:00:00Z', limit: 0,
      rules: [
        {
          type: 'alerting', name: 'TargetDown', query: 'up == 0', duration: 60, keepFiringFor: 0, labels: { severity: HOSTILE }, health: 'ok', state: 'firing',
          annotations: { summary: HOSTILE, runbook_url: 'javascript:window.harmed=1', link: 'https://example.org/run?book' },
          evaluationTime: 0.01, lastEvaluation: '2026-01-01T00:00:00Z',
          alerts: [{ labels: { alertname: 'TargetDown', job: HOSTILE }, annotations: { summary: HOSTILE }, state: 'firing', activeAt: '2026-01-01T00:00:00Z', value: '1e+00' }],
        },
        { type: 'recording', name: 'job:up:sum', query: 'sum by (job) (up)', labels: {}, health: 'err', lastError: `bad ${HOSTILE}`, evaluationTime: 0.2, lastEvaluation: '2026-01-01T00:00:00Z' },
      ],
    },
  ],
};
const rules = { '**/api/v1/rules*': (route) => route.fulfill({ json: { status: 'success', data: RULES } }) };

test('alerts show their labels and annotations as text, and lead to their query', async () => {
  const { page, end } = await openPage(browser, server, 'alerts', { routes: rules });
  await page.getByText('1 active alert').waitFor();
  await page.getByText(HOSTILE).first().waitFor();
  assert.equal(await page.locator('a[href^="javascript:"]').count(), 0);
  assert.equal(await page.getByRole('link', { name: 'https://example.org/run?book' }).getAttribute('rel'), 'noopener noreferrer');
  assert.deepEqual(await seriousFindings(page), []);
  await picture(page, 'alerts-firing');
  await page.getByRole('link', { name: 'Open the query' }).first().click();
  await page.waitForURL(/g0\.expr=up\+%3D%3D\+0/);
  await end();
});

test('rules show what fails, and groups that are slow', async () => {
  const { page, end } = await openPage(browser, server, 'rules?health=err', { routes: rules });
  await page.getByText('slow', { exact: true }).waitFor();
  await page.getByText(`bad ${HOSTILE}`).waitFor();
  assert.equal(await page.getByText('TargetDown').count(), 0);
  await picture(page, 'rules-failing');
  await end();
});

test('hostile labels and help texts are text everywhere', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=hostile_total&g0.tab=graph&g0.range_input=1m');
  await page.locator('.legend-row', { hasText: 'onerror' }).first().waitFor();
  const box = await page.locator('.u-over').boundingBox();
  await page.mouse.move(box.x + box.width - 20, box.y + 40);
  await page.locator('.chart-tip', { hasText: 'hostile_total' }).waitFor();
  await page.goto(`${server.url}query?g0.expr=hostile_total`);
  await page.locator('.table-row', { hasText: 'onerror' }).first().waitFor();
  await page.goto(`${server.url}explore?search=hostile_total`);
  await page.getByText('Help & more.').waitFor();
  await page.goto(`${server.url}explore?metric=hostile_total&by=value`);
  await page.locator('.choices a', { hasText: 'onerror' }).waitFor();
  await page.goto(`${server.url}targets`);
  await page.locator('.label', { hasText: 'onerror' }).first().waitFor();
  await page.goto(`${server.url}config`);
  await page.getByText('onerror').first().waitFor();
  await end();
});

test('completion shows a hostile help text as text', async () => {
  const { page, end } = await openPage(browser, server, 'query');
  await page.locator('.cm-content').click();
  await page.keyboard.type('hostile_tot');
  await page.locator('.cm-completionInfo', { hasText: 'Help & more.' }).waitFor();
  assert.equal(await page.locator('harm').count(), 0);
  await end();
});

test('a server that does not answer is said, and the page recovers', async () => {
  const { page, end } = await openPage(browser, server, 'flags', { allowed: [/Failed to load resource/] });
  await page.getByText('--storage.path').waitFor();
  let isAway = true;
  await page.route('**/api/v1/**', (route) => (isAway ? route.abort() : route.continue()));
  await page.getByRole('link', { name: 'Cluster', exact: true }).click();
  await page.getByRole('alert').filter({ hasText: 'The server does not answer' }).waitFor();
  await picture(page, 'server-away');
  isAway = false;
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByText('answers this page').waitFor();
  assert.equal(await page.getByRole('alert').count(), 0);
  await end();
});

test('the tenant is sent with every request, and remembered', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=up');
  await page.locator('.table-row').first().waitFor();
  const asked = page.waitForRequest((request) => request.url().endsWith('/api/v1/query') && request.headers()['x-scope-orgid'] === 'team-a');
  await page.getByRole('combobox', { name: 'Tenant' }).fill('team-a');
  await page.keyboard.press('Enter');
  await asked;
  await page.getByText('No series', { exact: true }).waitFor();
  await page.reload();
  assert.equal(await page.getByRole('combobox', { name: 'Tenant' }).inputValue(), 'team-a');
  await end();
});

test('times are local or UTC, as the user likes', async () => {
  const { page, end } = await openPage(browser, server, 'status');
  const started = page.locator('dt', { hasText: 'Started' }).locator('+ dd');
  await started.waitFor();
  const hour = async () => Number(/ (\d\d):/.exec(await started.innerText())[1]);
  const local = await hour();
  await page.getByRole('combobox', { name: 'Times' }).selectOption('utc');
  await until(async () => (await hour()) !== local, 'another hour');
  assert.ok([1, 2].includes((local - (await hour()) + 24) % 24), 'Berlin is one or two hours ahead');
  await end();
});

test('below a prefix everything works the same', async () => {
  const own = await startServer(['--web.external-url=http://example.org/monitoring/pharos', '--web.page-title=<b>Ours</b>'], '/monitoring/pharos');
  try {
    const { page, end } = await openPage(browser, own, '');
    await page.waitForURL(/\/monitoring\/pharos\/query/);
    assert.match(await page.title(), /<b>Ours<\/b>/);
    await page.getByRole('link', { name: 'Targets' }).click();
    await page.waitForURL(/\/monitoring\/pharos\/targets/);
    await page.locator('.pool').first().waitFor();
    await page.goto(`${own.url}graph?g0.expr=up&g0.tab=0`);
    await page.locator('.legend-row').first().waitFor();
    await end();
  } finally {
    await own.stop();
  }
});

test('a path without a page says so', async () => {
  const { page, end } = await openPage(browser, server, 'query', {});
  await page.evaluate(() => {
    history.pushState(null, '', 'nowhere');
    window.dispatchEvent(new PopStateEvent('popstate'));
  });
  await page.getByText('There is no such page').waitFor();
  await end();
});
test('rules of the server are evaluated, and their alerts are shown', async () => {
  const { page, end } = await openPage(browser, server, 'alerts');
  const rule = page.locator('.rules > li', { hasText: 'TargetDown' });
  await rule.getByText('1 active alert').waitFor();
  await rule.getByText(`closed is down ${HOSTILE}`).first().waitFor();
  await page.getByRole('button', { name: /^Inactive/ }).click();
  await page.locator('.rules > li', { hasText: 'NeverFires' }).waitFor();
  assert.equal(await page.locator('.rules > li').count(), 1);
  await page.goto(`${server.url}rules`);
  await page.getByRole('link', { name: 'floor:room_temperature_celsius:avg' }).click();
  await page.locator('.legend-row').nth(3).waitFor();
  await end();
});

