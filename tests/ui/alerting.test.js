/** Silences and notifications, with the Alertmanager that the server runs, and without one. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test as withoutLimit } from 'node:test';
import { openPage, picture, seriousFindings, startBrowser, startServer } from './helpers.js';

const test = (name, body) => withoutLimit(name, { timeout: 120_000 }, body);

let server;
let browser;
let folder;
before(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'pharos-alerting-'));
  const configuration = `
route: {receiver: broken, group_by: [alertname], group_wait: 1s, group_interval: 2s}
receivers: [{name: broken, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}]
`;
  writeFileSync(path.join(folder, 'alertmanager.yml'), configuration);
  browser = await startBrowser();
  server = await startServer([`--alertmanager.config-file=${folder}/alertmanager.yml`]);
});
after(async () => {
  await browser?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

test('a silence is made from an alert, changed and expired', async () => {
  const { page, end } = await openPage(browser, server, 'alerts');
  await page.getByRole('link', { name: 'Silence', exact: true }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByText('1 alert would be silenced now:').waitFor();
  await picture(page, 'silence-form');
  await dialog.getByLabel('By').fill('somebody');
  await dialog.getByLabel('Because').fill('it is being repaired');
  await dialog.getByRole('button', { name: 'Silence', exact: true }).click();
  await page.getByText('it is being repaired').waitFor();
  await page.getByText('silences 1 alert now').waitFor({ timeout: 60_000 });
  assert.deepEqual(await seriousFindings(page), []);
  await page.getByRole('button', { name: 'Edit' }).click();
  await dialog.getByLabel('Because').fill('it is being replaced');
  await dialog.getByRole('button', { name: 'Change the silence' }).click();
  await page.getByText('it is being replaced').waitFor();
  await page.getByRole('button', { name: 'Expire', exact: true }).click();
  await page.getByRole('button', { name: 'Yes, expire it' }).click();
  await page.getByText('Nothing is silenced').waitFor();
  await page.getByRole('button', { name: /Expired/ }).click();
  await page.getByRole('button', { name: 'Make again' }).first().waitFor();
  await end();
});

test('alerts are shown as they are notified, and failed notifications with their reasons', async () => {
  const { page, end } = await openPage(browser, server, 'notifications');
  await page.getByRole('heading', { name: 'broken' }).waitFor();
  await page.getByText('Notifications of 1 integration failed.').waitFor({ timeout: 60_000 });
  await page.getByRole('cell', { name: /other: \d+/ }).waitFor();
  assert.deepEqual(await seriousFindings(page), []);
  await picture(page, 'notifications');
  await end();
});

test('a rule has a strip of its last day', async () => {
  const { page, end } = await openPage(browser, server, 'alerts');
  await page.getByRole('img', { name: /The last 24 hours: firing from/ }).waitFor();
  await end();
});

test('a server without an Alertmanager says how to start one', async () => {
  const other = await startServer();
  try {
    for (const address of ['silences', 'notifications']) {
      const { page, end } = await openPage(browser, other, address, { allowed: [/404/] });
      await page.getByText('--alertmanager.config-file').waitFor();
      await end();
    }
  } finally {
    await other.stop();
  }
});
