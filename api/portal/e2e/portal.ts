// What the specs share: a page under watch, and what the running Earshot has to show.
import { type APIRequestContext, expect, type Page, test as base } from '@playwright/test';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Call, Company, Page as List, User } from '../src/api';

const axeSource = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export interface Watch {
  /** expected are answers that a test provokes, by a part of their message. */
  expected: RegExp[];
}

/** test fails when the page logs an error, throws, or asks another host for anything. */
export const test = base.extend<{ watch: Watch }>({
  watch: [
    async ({ page, baseURL }, use) => {
      const watch: Watch = { expected: [] };
      const found: string[] = [];
      page.on('console', (m) => {
        if (m.type() === 'error') found.push(`console: ${m.text()} (${m.location().url})`);
      });
      page.on('pageerror', (e) => found.push(`exception: ${e.message}`));
      page.on('request', (r) => {
        const url = new URL(r.url());
        if (url.protocol.startsWith('http') && url.origin !== new URL(baseURL!).origin) found.push(`request to another host: ${r.url()}`);
      });
      await use(watch);
      expect(found.filter((f) => !watch.expected.some((e) => e.test(f)))).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

/** settled waits until the page shows something and loads nothing. */
export async function settled(page: Page) {
  await expect(page.locator('h1').first()).toBeVisible();
  await expect(page.locator('.spinner')).toHaveCount(0);
  await expect(page.locator('.failure')).toHaveCount(0);
}

/** fits says that nothing sticks out of the screen. */
export async function fits(page: Page) {
  const wide = await page.evaluate(() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    return [...document.querySelectorAll('body *')]
      .filter((e) => e.getBoundingClientRect().right > width + 1)
      .map((e) => `${e.tagName.toLowerCase()}.${e.className}`)
      .slice(0, 5);
  });
  expect(wide, 'elements that stick out of the screen').toEqual([]);
}

interface Violation {
  id: string;
  impact: string | null;
  nodes: { html: string; any: { message: string }[] }[];
}

/** accessible asks axe for serious and critical violations. */
export async function accessible(page: Page) {
  await page.evaluate(axeSource);
  const violations = await page.evaluate(async () => {
    const { axe } = window as unknown as { axe: { run: (o: object) => Promise<{ violations: Violation[] }> } };
    return (await axe.run({ resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'best-practice'] })).violations;
  });
  const grave = violations
    .filter((v) => v.impact === 'serious' || v.impact === 'critical')
    .map((v) => `${v.id}: ${v.nodes.map((n) => `${n.html} (${n.any.map((a) => a.message).join('; ')})`).slice(0, 4).join('\n  ')}`);
  expect(grave, 'serious violations found by axe').toEqual([]);
}

async function get<T>(request: APIRequestContext, path: string): Promise<T> {
  const response = await request.get(path);
  expect(response.status(), path).toBe(200);
  return (await response.json()) as T;
}

export async function company(request: APIRequestContext): Promise<string> {
  const list = await get<List<Company>>(request, '/api/v1/companies');
  expect(list.items.length).toBeGreaterThan(0);
  return (list.items.find((c) => c.id === 'default') ?? list.items[0]!).id;
}

/** awaitCall waits until there is a call of the wanted kind: a fresh demo needs a while to make one. */
export async function awaitCall(request: APIRequestContext, c: string, what: string, wanted: (call: Call) => boolean): Promise<Call> {
  let found: Call | undefined;
  await expect
    .poll(
      async () => {
        const list = await get<List<Call>>(request, `/api/v1/companies/${c}/calls?limit=100`);
        for (const item of list.items) {
          // Lists leave out what a verdict rests on.
          const call = await get<Call>(request, `/api/v1/companies/${c}/calls/${encodeURIComponent(item.id)}`);
          if (wanted(call)) {
            found = call;
            return true;
          }
        }
        return false;
      },
      { message: `a call ${what}`, timeout: 100_000, intervals: [1000, 3000] },
    )
    .toBe(true);
  return found!;
}

const has = (call: Call, kind: string, side?: string) =>
  !!call.verdict?.sources?.some((s) => s.kind === kind && (side === undefined || s.side === side) && (s.samples ?? 0) > 5);

export const withWebRTC = (call: Call) => call.state === 'ended' && !!call.verdict?.final && has(call, 'webrtc', 'target');
export const withoutWebRTC = (call: Call) =>
  call.state === 'ended' && !!call.verdict?.sources?.some((s) => s.kind === 'sip') && !call.verdict.sources.some((s) => s.kind === 'webrtc');

export async function someUser(request: APIRequestContext, c: string): Promise<User> {
  const list = await get<List<User>>(request, `/api/v1/companies/${c}/users?state=active`);
  expect(list.items.length, 'users').toBeGreaterThan(0);
  return list.items[0]!;
}

/** drawnPixels counts for every graph the pixels in the colours of its lines. */
export async function drawnPixels(page: Page): Promise<number[]> {
  return page.evaluate(() => {
    const style = getComputedStyle(document.documentElement);
    const rgb = (name: string) => {
      const hex = style.getPropertyValue(name).trim().slice(1);
      return [0, 2, 4].map((i) => Number.parseInt(hex.slice(i, i + 2), 16));
    };
    const lines = ['--blue', '--red'].map(rgb);
    return [...document.querySelectorAll<HTMLCanvasElement>('.graph canvas')].map((canvas) => {
      const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
      let n = 0;
      for (let i = 0; i < data.length; i += 4) {
        if (data[i + 3]! > 200 && lines.some((c) => Math.abs(data[i]! - c[0]!) + Math.abs(data[i + 1]! - c[1]!) + Math.abs(data[i + 2]! - c[2]!) < 30)) n++;
      }
      return n;
    });
  });
}
