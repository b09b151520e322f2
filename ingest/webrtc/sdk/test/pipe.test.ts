import { gunzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import type { Leg } from '../src/encoder';
import { Pipe } from '../src/pipe';

/** Server is the other end of the WebSockets that a Pipe opens. */
class Server {
  static all: Server[] = [];
  static refuses = false;
  readyState = 0;
  onopen?: () => void;
  onmessage?: (m: { data: string }) => void;
  onclose?: (e: { code: number }) => void;
  batches: { batch: number; dropped: number; lines: Record<string, unknown>[] }[] = [];
  constructor(readonly url: string, readonly protocols: string[]) {
    Server.all.push(this);
    setTimeout(() => {
      if (Server.refuses) return this.end(1006);
      this.readyState = 1;
      this.onopen?.();
    }, 1);
  }
  send(body: ArrayBuffer | string) {
    const text = typeof body === 'string' ? body : gunzipSync(Buffer.from(body)).toString();
    const [head, ...lines] = text.split('\n').map((l) => JSON.parse(l) as Record<string, unknown>);
    this.batches.push({ batch: head!.batch as number, dropped: head!.dropped as number, lines });
  }
  ack(n = this.batches.at(-1)!.batch, more = {}) {
    this.onmessage?.({ data: JSON.stringify({ ack: n, ...more }) });
  }
  end(code: number) {
    this.readyState = 3;
    this.onclose?.({ code });
  }
  close() {
    this.readyState = 3;
  }
}

const leg: Leg = { head: { call_id: 'c' } };
const errors: string[] = [];
const posted: { url: string; headers: Record<string, string>; body: string }[] = [];
let status = 202;
let maxSamples = 600;
const make = () => new Pipe({ url: 'https://e.example/', key: 'k', maxSamples, onError: (e) => errors.push(e.message) });
const sample = (at: number) => ({ sample: { leg, at, stats: { I: { type: 'inbound-rtp', packetsReceived: at } } } });
const ats = (lines: Record<string, unknown>[]) => lines.map((l) => l.at);
const settle = () => vi.advanceTimersByTimeAsync(20);
const compressor = globalThis.CompressionStream;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
  Server.all = [];
  Server.refuses = false;
  errors.length = posted.length = 0;
  status = 202;
  maxSamples = 600;
  vi.stubGlobal('WebSocket', Server);
  vi.stubGlobal('CompressionStream', undefined);
  vi.stubGlobal('fetch', async (url: string, init: { headers: Record<string, string>; body: string | ArrayBuffer }) => {
    if (!status) throw new TypeError('Failed to fetch');
    const body = typeof init.body === 'string' ? init.body : gunzipSync(Buffer.from(init.body)).toString();
    posted.push({ url, headers: init.headers, body });
    return { status };
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('the key travels as a subprotocol; a batch leaves the buffer when it is acknowledged', async () => {
  const pipe = make();
  pipe.push(sample(1));
  pipe.flush();
  await settle();
  pipe.push(sample(2));
  pipe.flush();
  await settle();
  const [server] = Server.all;
  expect([server!.url, server!.protocols]).toEqual(['wss://e.example/ingest/v1/webrtc', ['earshot.webrtc.v1', 'earshot.key.k']]);
  expect(server!.batches).toMatchObject([{ batch: 1, lines: [{ call_id: 'c', at: 1 }] }, { batch: 2, lines: [{ at: 2, stats: { I: { packetsReceived: 2 } } }] }]);
  server!.ack(1);
  server!.end(1006);
  await vi.advanceTimersByTimeAsync(600);
  // Only what was not acknowledged comes again, whole.
  expect(Server.all[1]!.batches).toMatchObject([{ batch: 3, lines: [{ call_id: 'c', at: 2 }] }]);
});

test('a batch that is large is compressed', async () => {
  vi.stubGlobal('CompressionStream', compressor);
  const send = vi.spyOn(Server.prototype, 'send');
  const pipe = make();
  for (let at = 1; at <= 30; at++) pipe.push(sample(at));
  pipe.flush();
  await vi.waitFor(() => expect(Server.all[0]!.batches).toHaveLength(1));
  expect(send.mock.calls[0]![0]).toBeInstanceOf(ArrayBuffer);
  expect(ats(Server.all[0]!.batches[0]!.lines)).toHaveLength(30);
});

test('what comes while the server is away is kept and sent in order; the pauses grow', async () => {
  status = 0;
  Server.refuses = true;
  const pipe = make();
  for (let at = 1; at <= 30; at++) {
    pipe.push(sample(at));
    pipe.flush();
    await vi.advanceTimersByTimeAsync(1000);
  }
  const tries = Server.all.length;
  expect(tries).toBeGreaterThan(4);
  expect(tries).toBeLessThan(12);
  Server.refuses = false;
  pipe.hurry();
  await settle();
  expect(ats(Server.all.at(-1)!.batches.flatMap((b) => b.lines))).toEqual([...Array(30).keys()].map((i) => i + 1));
});

test('the buffer is bounded: the oldest samples go and are counted, events stay', async () => {
  maxSamples = 5;
  status = 0;
  Server.refuses = true;
  const pipe = make();
  pipe.push({ event: '{"specversion":"1.0"}' });
  for (let at = 1; at <= 9; at++) pipe.push(sample(at));
  Server.refuses = false;
  pipe.flush();
  await settle();
  expect(Server.all[0]!.batches[0]).toMatchObject({ dropped: 5, lines: [{ specversion: '1.0' }, { at: 6 }, { at: 7 }, { at: 8 }, { at: 9 }] });
});

test('a server that does not answer is given up', async () => {
  const pipe = make();
  pipe.push(sample(1));
  pipe.flush();
  await vi.advanceTimersByTimeAsync(17_000);
  expect(Server.all).toHaveLength(2);
  expect(ats(Server.all[1]!.batches[0]!.lines)).toEqual([1]);
});

test('an idle connection is closed and opened again when it is needed', async () => {
  const pipe = make();
  pipe.push(sample(1));
  pipe.flush();
  await settle();
  Server.all[0]!.ack();
  await vi.advanceTimersByTimeAsync(31_000);
  expect(Server.all[0]!.readyState).toBe(3);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(Server.all).toHaveLength(1);
  pipe.push(sample(2));
  pipe.flush();
  await settle();
  expect(ats(Server.all[1]!.batches[0]!.lines)).toEqual([2]);
});

test('a batch that can never be read is not sent for ever', async () => {
  const pipe = make();
  pipe.push(sample(1));
  pipe.flush();
  await settle();
  Server.all[0]!.end(1007);
  pipe.push(sample(2));
  pipe.flush();
  await vi.advanceTimersByTimeAsync(1000);
  expect(Server.all[1]!.batches).toMatchObject([{ dropped: 1, lines: [{ at: 2 }] }]);
});

test('where no WebSocket can be opened samples are posted, and it is tried again later', async () => {
  Server.refuses = true;
  const pipe = make();
  for (let at = 1; at <= 12; at++) {
    pipe.push(sample(at));
    pipe.flush();
    await vi.advanceTimersByTimeAsync(1000);
  }
  expect(posted.length).toBeGreaterThanOrEqual(3);
  expect(posted[0]).toMatchObject({ url: 'https://e.example/ingest/v1/webrtc', headers: { Authorization: 'Bearer k' } });
  // Each body stands for itself.
  for (const p of posted) expect(JSON.parse(p.body.split('\n')[1]!)).toMatchObject({ call_id: 'c' });
  const came = posted.flatMap((p) => ats(p.body.split('\n').slice(1).map((l) => JSON.parse(l) as Record<string, unknown>)));
  expect(came.length).toBeGreaterThan(8);
  expect(came).toEqual([...came.keys()].map((i) => i + 1));
  expect(Server.all).toHaveLength(1);
  Server.refuses = false;
  await vi.advanceTimersByTimeAsync(60_000);
  pipe.push(sample(13));
  await vi.advanceTimersByTimeAsync(6000);
  pipe.flush();
  await settle();
  expect(Server.all.length).toBeGreaterThan(1);
});

test('a browser that forbids the WebSocket posts', async () => {
  vi.stubGlobal('WebSocket', class { constructor() { throw new DOMException('forbidden', 'SecurityError'); } });
  const pipe = make();
  pipe.push(sample(1));
  pipe.flush();
  await settle();
  expect(posted).toHaveLength(1);
});

test('a refused key ends it', async () => {
  Server.refuses = true;
  status = 401;
  const pipe = make();
  pipe.push(sample(1));
  pipe.flush();
  await vi.advanceTimersByTimeAsync(100_000);
  pipe.push(sample(2));
  pipe.flush();
  await vi.advanceTimersByTimeAsync(100_000);
  expect([Server.all.length, posted.length, errors]).toEqual([1, 1, ['Earshot refused the key']]);
});

test('an answer that is none acknowledges nothing', async () => {
  const pipe = make();
  pipe.push(sample(1));
  pipe.flush();
  await settle();
  Server.all[0]!.onmessage!({ data: '<html>' });
  Server.all[0]!.end(1006);
  await vi.advanceTimersByTimeAsync(1000);
  expect(ats(Server.all[1]!.batches[0]!.lines)).toEqual([1]);
});

test('refused items are told', async () => {
  const pipe = make();
  pipe.push(sample(1));
  pipe.flush();
  await settle();
  Server.all[0]!.ack(1, { rejected: [{ index: 1, field: 'side' }] });
  expect(errors).toEqual(['Earshot refused [{"index":1,"field":"side"}]']);
});

test('a page that goes hands over the newest that fits', () => {
  const beacons: { url: string; body: Blob }[] = [];
  vi.stubGlobal('navigator', { sendBeacon: (url: string, body: Blob) => beacons.push({ url, body }) });
  const pipe = make();
  pipe.push(sample(1));
  pipe.push({ event: '{"specversion":"1.0"}' });
  pipe.leave();
  for (let at = 2; at < 500; at++) pipe.push({ sample: { leg, at, stats: { I: { type: 'x'.repeat(300) + at } } } });
  pipe.leave();
  expect(beacons.map((b) => b.url)).toEqual(Array(2).fill('https://e.example/ingest/v1/webrtc?key=k'));
  expect(beacons[0]!.body.type).toBe('text/plain');
  expect(beacons[1]!.body.size).toBeGreaterThan(30_000);
  expect(beacons[1]!.body.size).toBeLessThan(64_000);
});
