/** The query page: writing, running, seeing, sharing. */
import assert from 'node:assert/strict';
import { after, before, test as withoutLimit } from 'node:test';
import { openPage, picture, startBrowser, startServer } from './helpers.js';

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

const editor = (page, number = 0) => page.locator('.editor').nth(number).locator('.cm-content');
const params = (page) => new URL(page.url()).searchParams;

test('a query that is written and run shows its series and is in the address', async () => {
  const { page, end } = await openPage(browser, server, '');
  await page.waitForURL(/\/query/);
  await editor(page).click();
  await page.keyboard.type('count(room_temperature_celsius)');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Enter');
  await page.getByText('40', { exact: true }).waitFor();
  assert.equal(params(page).get('g0.expr'), 'count(room_temperature_celsius)');
  await picture(page, 'query-table');
  await end();
});

test('nothing is asked before somebody asks', async () => {
  const { page, end } = await openPage(browser, server, 'query');
  const asked = [];
  // What an operator should know is the exception.
  const isQuestion = (url) => url.includes('/api/') && !url.endsWith('/notifications');
  page.on('request', (request) => isQuestion(request.url()) && asked.push(request.url()));
  await page.getByText('Nothing runs before you ask for it').waitFor();
  await page.waitForLoadState('networkidle');
  assert.deepEqual(asked, []);
  await end();
});

test('completion asks the server for a few matches, and finds scattered letters', async () => {
  const { page, end } = await openPage(browser, server, 'query');
  const limits = [];
  page.on('request', (request) => /\/search\//.test(request.url()) && limits.push(new URL(request.url()).searchParams.get('limit')));
  await editor(page).click();
  await page.keyboard.type('roomcel');
  // Enter does nothing in the first moments of the list, so that nobody takes an option that they have not seen.
  await page.getByRole('option', { name: 'room_temperature_celsius', exact: true }).click();
  await page.keyboard.type('{room="r1');
  await page.locator('.cm-tooltip-autocomplete li', { hasText: 'r19' }).waitFor();
  assert.ok(limits.length > 0 && limits.every((limit) => limit === '100'), `${limits}`);
  await end();
});

test('a mistake is shown at its place and by the server', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=sum(rate(up))', { allowed: [/400/] });
  await page.getByRole('alert').filter({ hasText: 'expected type range vector' }).waitFor();
  await page.locator('.cm-lintRange-error').first().waitFor();
  await picture(page, 'query-mistake');
  await end();
});

test('formatting lays a query out', async () => {
  const { page, end } = await openPage(browser, server, 'query');
  await editor(page).click();
  await page.keyboard.insertText('sum by(floor)(rate(room_temperature_celsius[5m]))/scalar(sum(rate(room_temperature_celsius[5m])))+vector(1)*42');
  await page.getByRole('button', { name: 'Format' }).click();
  await page.waitForFunction(() => document.querySelector('.editor').shadowRoot.querySelectorAll('.cm-line').length > 3);
  await end();
});

test('a link of an alert opens its query as a table', async () => {
  const { page, end } = await openPage(browser, server, 'graph?g0.expr=up+%3D%3D+0&g0.tab=1');
  await page.waitForURL(/\/query\?/);
  await page.getByRole('button', { name: 'Table', pressed: true }).waitFor();
  await page.locator('.table-row', { hasText: 'closed' }).waitFor();
  await end();
});

test('a link of Prometheus 3 opens the graph with its range, end and picture', async () => {
  const link = 'query?g0.expr=room_temperature_celsius&g0.show_tree=0&g0.tab=graph&g0.end_input=2026-01-02+03%3A04%3A05&g0.moment_input=2026-01-02+03%3A04%3A05&g0.range_input=2h&g0.res_type=auto&g0.res_density=low&g0.display_mode=stacked&g0.show_exemplars=0';
  const { page, end } = await openPage(browser, server, link);
  await page.getByRole('button', { name: 'Stacked', pressed: true }).waitFor();
  assert.equal(await page.getByRole('combobox', { name: 'Range' }).inputValue(), '2h');
  // Links are in UTC, the page is in Berlin's time.
  assert.equal(await page.getByRole('textbox', { name: 'End time' }).inputValue(), '2026-01-02 04:04:05');
  await page.getByText('No series', { exact: true }).waitFor();
  await end();
});

test('a graph has a legend with statistics in which one series can be shown alone', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=room_temperature_celsius&g0.tab=graph&g0.range_input=1m');
  await page.locator('canvas.chart-layer[data-drawn="40"]').waitFor({ state: 'attached' });
  await page.getByRole('button', { name: 'Sort by max' }).click();
  assert.match(await page.locator('.legend-row').first().innerText(), /24/);
  await page.locator('.legend-row button').first().click();
  await page.locator('canvas.chart-layer[data-drawn="1"]').waitFor({ state: 'attached' });
  await page.getByRole('button', { name: 'Show all' }).click();
  await page.locator('canvas.chart-layer[data-drawn="40"]').waitFor({ state: 'attached' });
  await picture(page, 'query-graph');
  await end();
});

test('dragging over a graph zooms, and Back undoes it', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=up&g0.tab=graph&g0.range_input=10m');
  const box = await page.locator('.u-over').boundingBox();
  const [from, to] = [0.5, 0.9].map((part) => Math.round(box.x + box.width * part));
  await page.mouse.move(from, box.y + 50);
  await page.mouse.down();
  await page.mouse.move(to, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await page.waitForURL(/end_input/);
  // A pixel is most of a second, and ranges are whole seconds.
  const range = params(page).get('g0.range_input');
  const seconds = [...range.matchAll(/(\d+)([ms])/g)].reduce((sum, [, number, unit]) => sum + Number(number) * (unit === 'm' ? 60 : 1), 0);
  assert.ok(Math.abs(seconds - ((to - from) / box.width) * 600) <= 1.5, `${range} after ${to - from} of ${box.width} pixels`);
  await page.goBack();
  await page.waitForURL((url) => url.searchParams.get('g0.range_input') === '10m');
  await page.getByRole('combobox', { name: 'Range' }).and(page.locator('[value="10m"]')).or(page.locator('input[aria-label="Range"]')).first().waitFor();
  assert.equal(await page.locator('input[aria-label="Range"]').inputValue(), '10m');
  await end();
});

test('the pointer names the series under it', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=up{job%3D"self"}&g0.tab=graph&g0.range_input=1m');
  await page.locator('canvas.chart-layer[data-drawn="1"]').waitFor({ state: 'attached' });
  const box = await page.locator('.u-over').boundingBox();
  await page.mouse.move(box.x + box.width - 20, box.y + 40);
  await page.locator('.chart-tip', { hasText: 'self' }).waitFor();
  await end();
});

test('buckets of a histogram become a heatmap', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=answer_seconds_bucket&g0.tab=graph&g0.range_input=1m&g0.display_mode=heatmap');
  await page.locator('.u-over').waitFor();
  const box = await page.locator('.u-over').boundingBox();
  await page.mouse.move(box.x + box.width - 30, box.y + box.height - 20);
  await page.locator('.chart-tip', { hasText: '5 between 0 and 0.1' }).waitFor();
  await picture(page, 'query-heatmap');
  await end();
});

test('a plan shows what each operator did', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=sum(rate(room_temperature_celsius[1m]))&g0.tab=explain&g0.range_input=1m');
  await page.locator('.plan-node', { hasText: 'selector' }).waitFor();
  await page.locator('.plan-figures').first().waitFor();
  await picture(page, 'query-explain');
  await end();
});

test('the tree of a query opens its parts in panels of their own', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=sum+by+(job)+(rate(up[1m]))+/+2&g0.show_tree=1');
  await page.locator('.tree').getByText('sum by (job)').waitFor();
  await picture(page, 'query-tree');
  await page.locator('.tree').getByRole('button', { name: 'rate()' }).click();
  await page.waitForURL((url) => url.searchParams.get('g1.expr') === 'rate(up[1m])');
  await page.locator('.panel').nth(1).locator('.table-row').first().waitFor();
  await end();
});

test('warnings of an answer stay above it', async () => {
  const warning = 'samples of shard 12 may be missing';
  const routes = {
    '**/api/v1/query': async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, json: { ...(await response.json()), warnings: [warning] } });
    },
  };
  const { page, end } = await openPage(browser, server, 'query?g0.expr=up', { routes });
  await page.getByRole('alert').filter({ hasText: warning }).waitFor();
  await page.locator('.table-row').first().waitFor();
  await picture(page, 'query-warning');
  await end();
});

test('a running query is cancelled on the page and on the server', async () => {
  const routes = { '**/api/v1/query': () => {} };
  const { page, end } = await openPage(browser, server, 'query?g0.expr=up', { routes });
  await page.getByText(/Running for/).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText('The query was cancelled.').waitFor();
  await end();
});

test('panels are added, duplicated and removed', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=up');
  await page.getByRole('button', { name: 'Duplicate' }).click();
  await page.getByRole('button', { name: 'Add a panel' }).click();
  assert.equal(await page.locator('.panel').count(), 3);
  assert.equal(params(page).get('g1.expr'), 'up');
  await page.getByRole('button', { name: 'Remove' }).first().click();
  assert.equal(await page.locator('.panel').count(), 2);
  await end();
});

test('earlier queries are remembered', async () => {
  const { page, end } = await openPage(browser, server, 'query');
  await editor(page).click();
  await page.keyboard.insertText('sum(up)');
  await page.keyboard.press('Escape');
  await page.getByRole('button', { name: 'Run', exact: true }).click();
  await page.waitForURL(/sum/);
  await page.getByRole('button', { name: 'History' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'sum(up)' }).click();
  await page.getByRole('dialog').waitFor({ state: 'detached' });
  await end();
});

test('keys move through time and views without the pointer', async () => {
  const { page, end } = await openPage(browser, server, 'query?g0.expr=up&g0.range_input=1h');
  await page.locator('.table-row').first().waitFor();
  await page.keyboard.press('g');
  await page.waitForURL(/tab=graph/);
  await page.keyboard.press('+');
  await page.waitForURL(/range_input=2h/);
  await page.keyboard.press(',');
  await page.waitForURL(/end_input/);
  await page.keyboard.press('0');
  await page.waitForURL((url) => !url.searchParams.has('g0.end_input'));
  await page.keyboard.press('?');
  await page.getByRole('dialog', { name: 'Shortcuts' }).waitFor();
  await page.keyboard.press('Escape');
  await page.keyboard.press('/');
  await page.waitForFunction(() => document.activeElement?.classList.contains('editor'));
  await end();
});

test('5,000 series are drawn while the page goes on answering', async () => {
  const count = 5000;
  const routes = {
    '**/api/v1/query_range': async (route) => {
      const body = new URLSearchParams(route.request().postData());
      const [start, step, stop] = ['start', 'step', 'end'].map((name) => Number(body.get(name)));
      const times = Array.from({ length: Math.round((stop - start) / step) + 1 }, (_, i) => start + i * step);
      const result = Array.from({ length: count }, (_, s) => ({ metric: { __name__: 'wide', n: String(s) }, values: times.map((time, i) => [time, String(Math.sin(i / 20 + s) * s)]) }));
      await route.fulfill({ json: { status: 'success', data: { resultType: 'matrix', result } } });
    },
  };
  const { page, end } = await openPage(browser, server, 'query', { routes });
  await page.evaluate(() => {
    window.longest = 0;
    let last = performance.now();
    setInterval(() => {
      const now = performance.now();
      window.longest = Math.max(window.longest, now - last);
      last = now;
    }, 10);
  });
  await editor(page).click();
  await page.keyboard.insertText('wide');
  await page.keyboard.press('Escape');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Graph' }).click();
  await page.locator(`canvas.chart-layer[data-drawn="${count}"]`).waitFor({ state: 'attached', timeout: 120_000 });
  const longest = await page.evaluate(() => window.longest);
  console.log(`the longest time without an answer was ${Math.round(longest)} ms`);
  // One CPU that is shared with the server and the browser's own work takes its time; a frozen page takes many seconds.
  assert.ok(longest < 3000, `${longest} ms`);
  await picture(page, 'query-5000');
  await end();
});
