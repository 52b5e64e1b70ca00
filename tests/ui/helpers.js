/** A real server with targets, a real browser, and pages that fail the test when something goes wrong in them. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createSocket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const binary = process.env.PHAROS ?? path.join(process.env.CARGO_TARGET_DIR ?? path.join(root, 'target'), 'release/pharos');
if (!existsSync(binary)) throw new Error(`${binary} does not exist; set PHAROS`);
const chromiumPath = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** Where screenshots are kept; nowhere by default. */
const pictures = process.env.UI_PICTURES;

/** A build of the interface that is tested in place of the binary's; the server still answers everything else. */
const build = process.env.UI_DIST;

/** Text that a page must show as it is. If it ran as a script or became an element, `window.harmed` or an element `harm` would exist. */
export const HOSTILE = `"><harm></harm><img src=x onerror="window.harmed=1"><script>window.harmed=1</script>`;

const EXPOSITION = [
  '# HELP hostile_total <harm></harm><script>window.harmed=1</script> Help & more.',
  '# TYPE hostile_total counter',
  `hostile_total{value=${JSON.stringify(HOSTILE)}} 7`,
  `hostile_total{value="javascript:window.harmed=1"} 8`,
  '# HELP room_temperature_celsius Temperature of a room.',
  '# TYPE room_temperature_celsius gauge',
  ...Array.from({ length: 40 }, (_, i) => `room_temperature_celsius{room="r${i}",floor="${i % 4}"} ${15 + (i % 10)}`),
  '# HELP answer_seconds Time to answer.',
  '# TYPE answer_seconds histogram',
  'answer_seconds_bucket{le="0.1"} 5',
  'answer_seconds_bucket{le="1"} 9',
  'answer_seconds_bucket{le="+Inf"} 10',
  'answer_seconds_sum 3.5',
  'answer_seconds_count 10',
  // What kube-state-metrics and the kubelet would say of two pods.
  'kube_namespace_status_phase{namespace="shop",phase="Active"} 1',
  'kube_pod_status_phase{namespace="shop",phase="Running"} 2',
  'kube_pod_status_phase{namespace="shop",phase="Pending"} 0',
  ...['cart-1', 'pay-1'].flatMap((pod, i) => [
    `kube_pod_info{namespace="shop",pod="${pod}",node="node-${i}"} 1`,
    `kube_pod_ready{namespace="shop",pod="${pod}"} ${i}`,
    `kube_pod_requests{namespace="shop",pod="${pod}",resource="cpu"} 0.5`,
    `container_cpu_usage{namespace="shop",pod="${pod}",container="app"} 0.${i + 1}`,
  ]),
  '',
].join('\n');

const RULES = `
groups:
  - name: rooms
    rules:
      - {record: 'floor:room_temperature_celsius:avg', expr: 'avg by (floor) (room_temperature_celsius)'}
      - alert: TargetDown
        expr: up == 0
        labels: {severity: page}
        annotations: {summary: ${JSON.stringify(`{{ $labels.job }} is down ${HOSTILE}`)}}
      - {alert: NeverFires, expr: vector(0) > 1}
`;

function freePort() {
  return new Promise((resolve, reject) => {
    const socket = createSocket();
    socket.once('error', reject);
    socket.listen(0, '127.0.0.1', () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });
}

/** Calls `probe` until it returns something true. */
export async function until(probe, what, seconds = 60) {
  const end = Date.now() + seconds * 1000;
  for (;;) {
    const found = await probe();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what} did not happen in ${seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Starts a target and a server that scrapes it and itself. `flags` are added to the command line. */
export async function startServer(flags = [], prefix = '') {
  const folder = mkdtempSync(path.join(tmpdir(), 'pharos-ui-'));
  const target = createServer((_, response) => response.setHeader('Content-Type', 'text/plain; version=0.0.4').end(EXPOSITION));
  await new Promise((resolve) => target.listen(0, '127.0.0.1', resolve));
  const port = await freePort();
  writeFileSync(path.join(folder, 'rules.yml'), RULES);
  const configuration = `
global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}
rule_files: [rules.yml]
scrape_configs:
  - job_name: self
    metrics_path: ${prefix}/metrics
    static_configs: [{targets: ['127.0.0.1:${port}']}]
  - job_name: rooms
    static_configs: [{targets: ['127.0.0.1:${target.address().port}'], labels: {note: ${JSON.stringify(HOSTILE)}}}]
  - job_name: closed
    static_configs: [{targets: ['127.0.0.1:9']}]
  - job_name: dropped
    static_configs: [{targets: ['10.0.0.1:80']}]
    relabel_configs: [{action: drop, source_labels: [__address__], regex: '.*'}]
`;
  writeFileSync(path.join(folder, 'pharos.yml'), configuration);
  const server = spawn(binary, ['server', `--config.file=${folder}/pharos.yml`, `--storage.path=${folder}/data`, `--web.listen-address=127.0.0.1:${port}`, ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  let log = '';
  for (const stream of [server.stdout, server.stderr]) stream.on('data', (text) => { log += text; });
  const url = `http://127.0.0.1:${port}${prefix}/`;
  const value = async (query) => {
    const response = await fetch(`${url}api/v1/query?query=${encodeURIComponent(query)}`).catch(() => null);
    if (server.exitCode !== null) throw new Error(`the server exited with ${server.exitCode}:\n${log}`);
    return response?.ok ? Number((await response.json()).data.result[0]?.value[1] ?? 0) : 0;
  };
  const stop = async () => {
    server.kill('SIGKILL');
    target.close();
    await new Promise((resolve) => (server.exitCode === null && server.signalCode === null ? server.once('exit', resolve) : resolve()));
    rmSync(folder, { recursive: true, force: true });
  };
  const isScraped = until(async () => (await value('count(room_temperature_celsius)')) === 40 && (await value('count(count_over_time(up{job="self"}[1m]) >= 3)')) === 1, 'scraping', 90);
  await isScraped.catch(async (error) => {
    await stop();
    throw error;
  });
  /** Adds lines to the configuration and has the server read it again; none for the configuration of the start. */
  const reload = (lines = '') => {
    writeFileSync(path.join(folder, 'pharos.yml'), configuration + lines);
    server.kill('SIGHUP');
  };
  return {
    url,
    stop,
    reload,
  };
}

const TYPES = { js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml', html: 'text/html' };

/** Answers a request for a file from `UI_DIST`, with the headers that the server sends. */
async function fromBuild(route, server) {
  const { pathname } = new URL(route.request().url());
  const name = pathname.slice(new URL(server.url).pathname.length);
  const file = /^(assets\/|favicon)/.test(name) ? name : 'index.html';
  const served = await fetch(`${server.url}query`);
  const { headers } = served;
  const title = /<title>.*<\/title>/.exec(await served.text())[0];
  const contents = readFileSync(path.join(build, file), 'utf8');
  await route.fulfill({
    body: file === 'index.html' ? contents.replace(/<title>.*<\/title>/, () => title) : contents,
    contentType: TYPES[file.split('.').pop()],
    headers: { 'Content-Security-Policy': headers.get('content-security-policy') },
  });
}

export function startBrowser() {
  return chromium.launch({ executablePath: chromiumPath, args: ['--no-sandbox'] });
}

/** Opens a page. `end` fails if it had an error, broke the Content-Security-Policy, asked another server, or ran hostile text. */
export async function openPage(browser, server, address, options = {}) {
  const { allowed = [], routes = {}, ...contextOptions } = options;
  const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, timezoneId: 'Europe/Berlin', ...contextOptions });
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const faults = [];
  const origin = new URL(server.url).origin;
  page.on('pageerror', (error) => faults.push(`exception: ${error.stack}`));
  page.on('console', (message) => {
    const text = message.text();
    if (message.type() === 'error' && !allowed.some((pattern) => pattern.test(text))) faults.push(`console: ${text} ${message.location().url}`);
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(origin) && !/^(data|blob):/.test(request.url())) faults.push(`a request to ${request.url()}`);
  });
  await page.addInitScript(() => {
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
  });
  if (build) await page.route((url) => !/\/(api|-|metrics)\//.test(`${url.pathname}/`), (route) => fromBuild(route, server));
  for (const [pattern, handler] of Object.entries(routes)) await page.route(pattern, handler);
  await page.goto(server.url + address);
  return {
    page,
    async end() {
      const state = await page.evaluate(() => ({ violations: window.violations, harmed: window.harmed, elements: document.querySelectorAll('harm').length }));
      await context.close();
      assert.deepEqual({ ...state, faults }, { violations: [], harmed: undefined, elements: 0, faults: [] });
    },
  };
}

/** Keeps a screenshot if pictures are wanted. */
export async function picture(page, name) {
  if (!pictures) return;
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: path.join(pictures, `${name}.png`), fullPage: true });
}

export const axeSource = () => readFileSync(path.join(root, 'tests/ui/node_modules/axe-core/axe.min.js'), 'utf8');

/** The serious findings of axe on a page. */
export async function seriousFindings(page) {
  // Evaluated through the debugger, which the Content-Security-Policy does not concern.
  await page.evaluate(axeSource());
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map(({ html }) => html.slice(0, 200)).join(' | ')}`);
}
