/** Dashboards of Grafana, of new and old versions of their schema, against a real server. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test as withoutLimit } from 'node:test';
import { HOSTILE, openPage, picture, seriousFindings, startBrowser, startServer } from './helpers.js';

const test = (name, body) => withoutLimit(name, { timeout: 120_000 }, body);
const folder = path.join(path.dirname(fileURLToPath(import.meta.url)), 'dashboards');

let server;
let browser;
let own;
before(async () => {
  own = mkdtempSync(path.join(tmpdir(), 'pharos-dashboards-'));
  for (const name of ['machine', 'namespace', 'overview']) writeFileSync(path.join(own, `${name}.json`), readFileSync(path.join(folder, `${name}.json`)));
  writeFileSync(path.join(own, 'broken.json'), '{');
  writeFileSync(path.join(own, 'hostile.json'), JSON.stringify(hostile()));
  browser = await startBrowser();
  server = await startServer([`--web.dashboards=${own}`]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(own, { recursive: true, force: true });
});

/** A dashboard in which every text tries to become an element. */
function hostile() {
  const kinds = ['timeseries', 'stat', 'gauge', 'bargauge', 'table', 'piechart', 'state-timeline', 'heatmap', HOSTILE];
  const defaults = { unit: `suffix:${HOSTILE}`, displayName: HOSTILE, links: [{ title: HOSTILE, url: 'javascript:window.harmed=1' }], color: { mode: 'fixed', fixedColor: 'url(https://example.org/x)' }, mappings: [{ type: 'value', options: { 7: { text: HOSTILE } } }] };
  const panels = kinds.map((type, i) => ({ id: i, type, title: HOSTILE, description: HOSTILE, gridPos: { x: (i % 4) * 6, y: Math.floor(i / 4) * 6, w: 6, h: 6 }, fieldConfig: { defaults, overrides: [] }, targets: [{ refId: 'A', expr: 'hostile_total', legendFormat: HOSTILE, instant: type !== 'timeseries' }], links: defaults.links }));
  const texts = ['markdown', 'html'].map((mode, i) => ({ id: 50 + i, type: 'text', title: mode, gridPos: { x: i * 12, y: 20, w: 12, h: 6 }, options: { mode, content: `${HOSTILE} [link](javascript:window.harmed=1) <a href="javascript:window.harmed=1">link</a>` } }));
  return { title: HOSTILE, tags: [HOSTILE], panels: [...panels, ...texts], templating: { list: [{ name: 'v', label: HOSTILE, type: 'custom', query: `${HOSTILE},b` }] } };
}

const panelOf = (page, title) => page.locator('.dash-panel', { has: page.getByRole('heading', { name: title, exact: true }) });

const settled = (page) => page.waitForFunction(() => document.querySelector('.dash-panel') && !document.querySelector('main .loading, [aria-busy=true]'));

test('the list has built-in dashboards and those of the folder, and says which cannot be opened', async () => {
  const { page, end } = await openPage(browser, server, 'dashboards');
  await page.getByRole('link', { name: 'A machine in full' }).waitFor();
  await page.getByText('built in').first().waitFor();
  assert.match(await page.locator('li', { hasText: 'broken' }).textContent(), /EOF while parsing/);
  await page.getByRole('searchbox').fill('kubernetes');
  assert.equal(await page.locator('.dash-library > li').count(), 1);
  await page.getByRole('link', { name: 'Kubernetes / Compute resources / Namespace' }).click();
  await page.getByRole('heading', { level: 1, name: 'Kubernetes / Compute resources / Namespace' }).waitFor();
  await end();
});

test('a dashboard of the oldest schema shows values, graphs, texts and tables', async () => {
  // The last step of a range may be before the first scrape.
  const { page, end } = await openPage(browser, server, 'dashboards?dashboard=overview&from=now-5m&refresh=2s');
  await panelOf(page, 'Targets').getByText('2 up').waitFor({ timeout: 60_000 });
  await page.getByRole('combobox', { name: 'Refresh' }).selectOption('');
  await settled(page);
  assert.match(await panelOf(page, 'Share that is up').textContent(), /66\.7%/);
  assert.match(await panelOf(page, 'Samples of a scrape').locator('.dash-legend').textContent(), /rooms.*duration/s);
  await panelOf(page, 'Time to answer').locator('canvas').first().waitFor();
  assert.equal(await panelOf(page, 'HTML').getByRole('link').count(), 0);
  await page.getByRole('button', { name: /Tables/ }).click();
  await settled(page);
  const unknown = page.locator('[data-kind="made-up-panel"]');
  assert.match(await unknown.textContent(), /cannot be drawn here.*floor 3/s);
  const table = page.locator('[data-kind="table"]');
  assert.deepEqual(await table.locator('th').allTextContents(), ['When', 'instance', 'job', 'note', 'Up']);
  await picture(page, 'dashboard-overview');
  await end();
});

test('rows are repeated for the values of a variable, and tables are joined', async () => {
  const { page, end } = await openPage(browser, server, 'dashboards?dashboard=namespace');
  await page.getByRole('heading', { name: 'Pod pay-1' }).waitFor();
  await settled(page);
  assert.deepEqual(await panelOf(page, 'CPU quota').locator('td').allTextContents(), ['cart-1', '0.1', '0.5', '20%', 'pay-1', '0.2', '0.5', '40%']);
  assert.equal(await panelOf(page, 'CPU quota').getByRole('link', { name: 'pay-1' }).getAttribute('href'), 'https://example.org/pods?var-pod=pay-1');
  await page.locator('.dash-variable', { hasText: 'Pod' }).locator('summary').click();
  await page.locator('.dash-options').getByRole('button', { name: 'pay-1' }).click();
  await page.getByRole('heading', { name: 'Pod cart-1' }).waitFor({ state: 'detached' });
  await page.getByText('Pending').waitFor();
  await end();
});

test('choosing another value of a variable asks again and is in the address', async () => {
  const { page, end } = await openPage(browser, server, 'dashboards?dashboard=overview');
  await settled(page);
  await page.locator('.dash-variable summary').click();
  await page.locator('.dash-options').getByRole('button', { name: 'self', exact: true }).click();
  await page.waitForURL(/var-job=self/);
  await panelOf(page, 'Targets').getByText('1 up').waitFor();
  await page.locator('.dash-options').getByRole('button', { name: 'rooms', exact: true }).click();
  await page.waitForURL(/var-job=self&var-job=rooms/);
  await panelOf(page, 'Targets').getByText('2 up').waitFor();
  await end();
});

test('a panel tells its queries and is shown alone', async () => {
  const { page, end } = await openPage(browser, server, 'dashboards?dashboard=overview&from=now-5m');
  await settled(page);
  await panelOf(page, 'Samples of a scrape').hover();
  await page.getByRole('button', { name: 'About Samples of a scrape' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('max(scrape_duration_seconds)').waitFor();
  await dialog.getByRole('button', { name: 'Show this panel alone' }).click();
  await page.waitForURL(/viewPanel=5/);
  await settled(page);
  assert.equal(await page.locator('.dash-panel').count(), 1);
  await end();
});

test('a pasted dashboard is opened, and what is none is refused with a reason', async () => {
  const { page, end } = await openPage(browser, server, 'dashboards');
  const paste = async (text) => {
    await page.getByRole('button', { name: 'Paste JSON' }).click();
    await page.getByRole('textbox', { name: 'JSON of a dashboard' }).fill(text);
    await page.getByRole('button', { name: 'Open', exact: true }).click();
  };
  await paste('{"groups": []}');
  await page.getByText(/neither “panels” nor “rows”/).waitFor();
  await paste(JSON.stringify({ title: 'Pasted', panels: [{ id: 1, type: 'stat', title: 'Rooms', targets: [{ expr: 'count(room_temperature_celsius)', instant: true }] }] }));
  await page.getByRole('heading', { level: 1, name: 'Pasted' }).waitFor();
  await panelOf(page, 'Rooms').getByText('40').waitFor();
  await page.reload();
  await panelOf(page, 'Rooms').getByText('40').waitFor();
  await end();
});

test('hostile texts in a dashboard do nothing', async () => {
  const { page, end } = await openPage(browser, server, 'dashboards?dashboard=hostile');
  await settled(page);
  await page.getByText('window.harmed=1').first().waitFor();
  assert.equal(await page.locator('a[href^="javascript"]').count(), 0);
  await page.locator('.dash-panel').first().hover();
  await page.locator('.dash-menu').first().click();
  await page.getByRole('dialog').waitFor();
  await end();
});

for (const name of ['machine', 'namespace', 'overview']) {
  test(`the dashboard ${name} is accessible in both themes and fits a phone`, async () => {
    for (const colorScheme of ['light', 'dark']) {
      const { page, end } = await openPage(browser, server, `dashboards?dashboard=${name}`, { colorScheme });
      await settled(page);
      assert.deepEqual(await seriousFindings(page), []);
      await picture(page, `dashboard-${name}-${colorScheme}`);
      await end();
    }
    const { page, end } = await openPage(browser, server, `dashboards?dashboard=${name}`, { viewport: { width: 360, height: 740 }, hasTouch: true });
    await settled(page);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${width} pixels are needed`);
    await picture(page, `dashboard-${name}-phone`);
    await end();
  });
}
