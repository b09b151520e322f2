// Two pages of Chromium call each other with a microphone that beeps, the SDK in both; a third has the portal open.
import { type BrowserContext, expect, type Page, test } from '@playwright/test';

const env = (name: string) => {
  const value = process.env[name];
  if (!value) throw new Error(`set EARSHOT_URL, EARSHOT_SIGNIN (an unused link), EARSHOT_KEY (of role ingest), EXAMPLE_URL (the example page) and WIRE_URL; ${name} is missing`);
  return value;
};
const earshot = env('EARSHOT_URL');
/** wire leads to Earshot and can be cut: POST /cut, /mend, and /http, which lets no WebSocket through. GET /beacons counts those that it carried. */
const wire = env('WIRE_URL');

interface Recorded {
  at: number;
  packetsReceived?: number;
  jitter?: number;
  energy?: number;
  duration?: number;
}

interface Sample {
  at: string;
  side: string;
  source: string;
  direction: string;
  packets: number | null;
  jitter_ms: number | null;
  audio_level: number | null;
}

interface Call {
  id: string;
  state: string;
  ratings?: { rating: number; text?: string }[];
  verdict: { final: boolean; one_way_audio: { state: string }; evidence: { kind: string }[]; sources: { kind: string; side: string; samples: number }[] };
}

/** record keeps what getStats() gave the SDK, and when the SDK was given the connection. */
function record() {
  const seen: Recorded[] = [];
  const original = RTCPeerConnection.prototype.getStats;
  Object.assign(window, { seen });
  RTCPeerConnection.prototype.getStats = async function (this: RTCPeerConnection, ...given: []) {
    const report = (await original.apply(this, given)) as RTCStatsReport;
    const one: Recorded = { at: 0 };
    report.forEach((s) => {
      if (s.type === 'inbound-rtp' && s.kind === 'audio') Object.assign(one, { packetsReceived: s.packetsReceived, jitter: s.jitter, energy: s.totalAudioEnergy, duration: s.totalSamplesDuration });
      if (/^(in|out)bound-rtp$/.test(s.type)) one.at = Math.max(one.at, Math.round(s.timestamp));
    });
    if (one.at > (seen.at(-1)?.at ?? 0)) seen.push(one);
    return report;
  } as typeof original;
}

const seen = (page: Page) => page.evaluate(() => (window as unknown as { seen: Recorded[] }).seen);

async function open(context: BrowserContext, user: string, callID: string): Promise<Page> {
  const page = await context.newPage();
  page.on('pageerror', (e) => {
    throw e;
  });
  await page.addInitScript(record);
  const settings = new URLSearchParams({ url: wire, key: env('EARSHOT_KEY'), 'call-id': callID, user });
  await page.goto(`${env('EXAMPLE_URL')}?${settings}`);
  return page;
}

test('a call between two pages shows live, loses nothing while the network is away, and ends with its rating', async ({ browser }) => {
  const callID = `sdk-${Date.now()}`;
  const portalContext = await browser.newContext({ baseURL: earshot });
  const portal = await portalContext.newPage();
  await portal.goto(env('EARSHOT_SIGNIN'));
  await portal.goto('/c/default/calls');
  await expect(portal.getByRole('heading', { name: 'Calls', level: 1 })).toBeVisible();
  await expect(portal.locator('.spinner')).toHaveCount(0);
  const loads: string[] = [];
  portal.on('framenavigated', (f) => loads.push(f.url()));
  const api = async <T>(path: string) => (await (await portalContext.request.get(`/api/v1/companies/default/calls/${callID}${path}`)).json()) as T;
  const samples = async (side: string) => {
    const all: Sample[] = [];
    for (let cursor = ''; ; ) {
      const page = await api<{ items: Sample[]; next_cursor: string | null }>(`/samples?limit=1000${cursor}`);
      all.push(...(page.items ?? []).filter((s) => s.side === side && s.source === 'webrtc'));
      if (!page.next_cursor) return all;
      cursor = `&cursor=${page.next_cursor}`;
    }
  };
  const arrived = async (side: string) => new Set((await samples(side)).map((s) => Date.parse(s.at)));
  const allArrived = (side: string, from: Recorded[]) =>
    expect
      .poll(async () => {
        const there = await arrived(side);
        return from.filter((r) => r.at && !there.has(r.at)).map((r) => r.at);
      }, { message: `every sample of the ${side} is in the API` })
      .toEqual([]);
  const control = async (what: string) => expect((await portalContext.request.post(`${wire}/${what}`)).ok()).toBe(true);

  const pages = await browser.newContext();
  const a = await open(pages, 'alice', callID);
  const b = await open(pages, 'bob', callID);
  const begun = Date.now();
  await a.getByRole('button', { name: 'Call' }).click();
  const row = portal.locator('tr', { has: portal.locator(`a[href$="/calls/${callID}"]`) });
  await row.getByText('Live', { exact: true }).waitFor();
  const visible = Date.now() - begun;
  expect(loads).toEqual([]);
  console.log(`from the call to the portal's list: ${visible} ms`);
  expect(visible).toBeLessThan(20_000);

  // What the API says is what the page's own getStats() said.
  await expect.poll(async () => (await seen(a)).filter((r) => r.packetsReceived && r.energy).length, { message: 'samples with sound' }).toBeGreaterThan(2);
  await allArrived('target', await seen(a));
  const own = await seen(a);
  const heard = (await samples('target')).filter((s) => s.direction === 'contact_to_target');
  let compared = 0;
  for (const s of heard) {
    const i = own.findIndex((r) => r.at === Date.parse(s.at));
    if (i < 1 || s.packets === null || own[i]!.packetsReceived === undefined || own[i - 1]!.packetsReceived === undefined) continue;
    compared++;
    expect(s.packets).toBe(own[i]!.packetsReceived! - own[i - 1]!.packetsReceived!);
    expect(s.jitter_ms).toBeCloseTo(own[i]!.jitter! * 1000, 2);
    const level = Math.sqrt((own[i]!.energy! - own[i - 1]!.energy!) / (own[i]!.duration! - own[i - 1]!.duration!));
    expect(s.audio_level).toBeCloseTo(level, 3);
  }
  expect(compared).toBeGreaterThan(1);

  // Muted, while the network is away for five samples.
  await a.getByRole('button', { name: 'Mute' }).click();
  await control('cut');
  await pages.setOffline(true);
  const before = (await seen(a)).length;
  await expect.poll(async () => (await seen(a)).length, { message: 'samples while offline' }).toBeGreaterThanOrEqual(before + 5);
  const missed = (await seen(a)).slice(before, before + 4);
  expect((await arrived('target')).has(missed[3]!.at)).toBe(false);
  await control('mend');
  await pages.setOffline(false);
  await allArrived('target', missed);

  // Without WebSockets the samples are posted; a page that goes leaves the rest to a beacon.
  await control('http');
  await b.waitForRequest((r) => r.method() === 'POST' && r.resourceType() === 'fetch');
  const posted = (await seen(b)).length;
  await expect.poll(async () => (await seen(b)).length).toBeGreaterThan(posted + 1);
  await a.getByRole('button', { name: 'Rate' }).click();
  const last = await seen(b);
  await b.goto('about:blank');
  // Playwright does not tell of a page's last requests; the wire does.
  await expect.poll(async () => (await portalContext.request.get(`${wire}/beacons`)).text(), { message: 'beacons' }).toBe('1');
  await control('mend');

  await a.getByRole('button', { name: 'End' }).click();
  await expect.poll(async () => (await api<Call>('')).verdict.final, { message: 'the final verdict' }).toBe(true);
  const call = await api<Call>('');
  expect(call.state).toBe('ended');
  expect(call.ratings).toMatchObject([{ rating: 4, text: 'from the example page' }]);
  expect(call.verdict.one_way_audio.state).not.toBe('confirmed');
  expect(call.verdict.evidence.map((e) => e.kind)).toContain('muted');
  await allArrived('target', (await seen(a)).slice(0, -1));
  await allArrived('contact', last);
});
