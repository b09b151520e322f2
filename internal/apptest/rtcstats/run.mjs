// Calls between pages of Chromium, each with a real rtcstats client. The calls are in CALLS: [{client, call, users: [a, b], earshot, cut}]; what every
// page's browser said goes to standard output. cut: the address of a wire that breaks in the middle of the call.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';

const calls = JSON.parse(process.env.CALLS);
const token = process.env.EARSHOT_KEY;
const here = (name) => new URL(name, import.meta.url).pathname;
const bundles = {};
for (const client of new Set(calls.map((c) => c.client))) {
  const { outputFiles } = await build({
    entryPoints: [here(`${client}.client.js`)], bundle: true, write: false, format: 'iife', logLevel: 'error',
    // A folder that the package's own exports do not let through.
    alias: { '@jitsi/js-utils/browser-detection': '@jitsi/js-utils/browser-detection/index.js' },
  });
  bundles[`/${client}`] = `<!doctype html><script>${readFileSync(here('page.js'))}</script><script>${outputFiles[0].text}</script>`;
}
const server = createServer((request, response) => {
  response.setHeader('content-type', 'text/html');
  response.end(bundles[request.url] ?? '');
});
await new Promise((then) => server.listen(0, '127.0.0.1', then));

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', '--autoplay-policy=no-user-gesture-required'],
});
const sleep = (ms) => new Promise((then) => setTimeout(then, ms));

async function hold({ client, call, users, earshot, cut }) {
  const pages = [];
  for (const user of users) {
    const page = await browser.newPage();
    page.on('pageerror', (e) => console.error(client, user, e.message));
    await page.goto(`http://127.0.0.1:${server.address().port}/${client}`);
    await page.evaluate((s) => window.prepare(s), { earshot, token, call, user });
    pages.push(page);
  }
  const [a, b] = pages;
  await a.evaluate((d) => window.accept(d), await b.evaluate((d) => window.accept(d), await a.evaluate(() => window.offer())));
  const polls = (n) => Promise.all(pages.map(async (p) => {
    while ((await p.evaluate(() => window.seen().filter((s) => s.packetsReceived > 0).length)) < n) await sleep(50);
  }));
  await polls(3);
  if (cut) {
    await fetch(`${cut}/cut`, { method: 'POST' });
    await polls(6);
    await fetch(`${cut}/mend`, { method: 'POST' });
    // Both clients come back, and then say what happened meanwhile.
    for (const p of pages) while (!(await p.evaluate(() => window.connected(true)))) await sleep(100);
    await polls(9);
  }
  await polls(8);
  const told = {};
  for (const [i, user] of users.entries()) {
    told[user] = await pages[i].evaluate(() => {
      window.pc.close();
      return window.seen();
    });
  }
  await sleep(500); // the last of it leaves
  for (const p of pages) await p.evaluate(() => window.end());
  return { call, told };
}

try {
  console.log(JSON.stringify(await Promise.all(calls.map(hold))));
} finally {
  await browser.close();
  server.close();
}
