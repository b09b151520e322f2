import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Earshot, type Options } from '../src/earshot';

const sent: Record<string, unknown>[] = [];
const listeners = new Map<string, () => void>();

class Socket {
  readyState = 1;
  onopen?: () => void;
  onmessage?: (m: { data: string }) => void;
  constructor() {
    queueMicrotask(() => this.onopen?.());
  }
  send(body: string) {
    const [head, ...lines] = body.split('\n').map((l) => JSON.parse(l) as Record<string, unknown>);
    sent.push(...lines);
    queueMicrotask(() => this.onmessage?.({ data: JSON.stringify({ ack: head!.batch }) }));
  }
  close() {}
}

class Connection {
  signalingState = 'stable';
  polls = 0;
  failing = false;
  tracks = [{ kind: 'audio', enabled: true }];
  constructor(readonly configuration?: unknown) {}
  getSenders = () => this.tracks.map((track) => ({ track }));
  getStats = async () => {
    if (this.failing) throw new Error('no statistics');
    return new Map([['I', { id: 'I', type: 'inbound-rtp', kind: 'audio', timestamp: 1772359200000 + Date.now() % 1e7, packetsReceived: ++this.polls }]]);
  };
}

const options: Options = { url: 'http://e', key: 'k', user: 'alice', appVersion: '5.2' };
const connection = () => new Connection() as unknown as RTCPeerConnection & Connection;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
  sent.length = 0;
  listeners.clear();
  vi.stubGlobal('WebSocket', Socket);
  vi.stubGlobal('CompressionStream', undefined);
  vi.stubGlobal('addEventListener', (name: string, f: () => void) => listeners.set(name, f));
  vi.stubGlobal('navigator', { userAgent: 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36' });
  vi.stubGlobal('RTCPeerConnection', Connection);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const samples = () => sent.filter((l) => l.ref !== undefined);
const events = () => sent.filter((l) => l.specversion).map((l) => [l.type, l.data]);

test('a call is sampled at once, each second, and no more when it is closed', async () => {
  const pc = connection();
  new Earshot(options).attach(pc, { callId: '42', legId: 'a', side: 'target', from: '+1', to: '+2' });
  await vi.advanceTimersByTimeAsync(2500);
  expect(samples()[0]).toMatchObject({
    call_id: '42', leg_id: 'a', side: 'target', from: '+1', to: '+2', user_id: 'alice', endpoint: 'web', app_version: '5.2', platform: 'Chrome 156', muted: false,
    stats: { I: { packetsReceived: 1 } },
  });
  expect(samples()).toHaveLength(3);
  pc.signalingState = 'closed';
  await vi.advanceTimersByTimeAsync(5000);
  expect(samples()).toHaveLength(3);
});

test('mute, rating and end are call events; a track that is off counts as muted', async () => {
  const pc = connection();
  const call = new Earshot(options).attach(pc, { callId: '42', legId: 'a', side: 'contact' });
  await vi.advanceTimersByTimeAsync(100);
  pc.tracks[0]!.enabled = false;
  await vi.advanceTimersByTimeAsync(1000);
  expect(samples().at(-1)).toMatchObject({ muted: true });
  call.mute(false);
  call.mute(false);
  call.rate(4, 'choppy');
  call.event('held');
  call.end();
  await vi.advanceTimersByTimeAsync(5000);
  const about = { call_id: '42', leg_id: 'a', side: 'contact', user: { user_id: 'alice' }, endpoint: 'web' };
  expect(events()).toEqual([
    ['earshot.call.unmuted', about],
    ['earshot.call.rated', { ...about, rating: 4, text: 'choppy' }],
    ['earshot.call.held', about],
    ['earshot.call.ended', about],
  ]);
  expect(new Set(sent.flatMap((l) => l.id ?? [])).size).toBe(4);
  expect(samples()).toHaveLength(2);
});

test('a call that is known later keeps what happened before', async () => {
  let id: string | undefined;
  const call = new Earshot(options).attach(connection(), () => (id ? { callId: id } : undefined));
  call.mute(true);
  await vi.advanceTimersByTimeAsync(3000);
  expect(sent).toEqual([]);
  id = '7';
  await vi.advanceTimersByTimeAsync(1000);
  expect(events()).toMatchObject([['earshot.call.muted', { call_id: '7' }]]);
  expect(samples()).toMatchObject([{ call_id: '7', muted: true }]);
});

test('nothing that fails reaches the page', async () => {
  const pc = connection();
  pc.failing = true;
  const earshot = new Earshot(options);
  const call = earshot.attach(pc, { callId: '1' });
  earshot.attach({} as RTCPeerConnection, { callId: '2' });
  earshot.attach(connection(), () => {
    throw new Error('the page');
  });
  vi.stubGlobal('WebSocket', class { constructor() { throw new Error('blocked'); } });
  vi.stubGlobal('fetch', () => Promise.reject(new TypeError('Failed to fetch')));
  call.rate(1);
  await vi.advanceTimersByTimeAsync(3000);
  pc.failing = false;
  vi.stubGlobal('WebSocket', Socket);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(samples().map((s) => s.call_id ?? '1')).toContain('1');
});

test('attachAll watches new connections until it is stopped', async () => {
  const before = new RTCPeerConnection() as unknown as Connection;
  const { earshot, stop } = Earshot.attachAll({ ...options, call: (pc) => ((pc as unknown as Connection).configuration ? { callId: '9' } : undefined) });
  const watched = new RTCPeerConnection({ iceServers: [] });
  const left = new RTCPeerConnection() as unknown as Connection;
  expect(watched).toBeInstanceOf(Connection);
  expect(watched.constructor.name).toBe('RTCPeerConnection');
  await vi.advanceTimersByTimeAsync(1500);
  stop();
  expect(RTCPeerConnection).toBe(Connection);
  expect([before.polls, left.polls, (watched as unknown as Connection).polls]).toEqual([0, 0, 2]);
  expect(samples()).toMatchObject([{ call_id: '9' }, {}]);
  earshot.close();
  await vi.advanceTimersByTimeAsync(5000);
  expect((watched as unknown as Connection).polls).toBe(2);
});

test('a connection that the page forgets is forgotten', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const earshot = new Earshot(options);
  const alive = await (async () => {
    const pc = connection();
    const call = earshot.attach(pc, { callId: '1' });
    await vi.advanceTimersByTimeAsync(1100);
    expect(pc.polls).toBe(2);
    return { pc: new WeakRef(pc), call };
  })();
  // References of finished promises go with the next turn of the real event loop.
  await vi.waitFor(() => {
    collect();
    expect(alive.pc.deref() === undefined).toBe(true); // expect must not hold it
  });
  const before = samples().length;
  await vi.advanceTimersByTimeAsync(3000);
  expect(samples()).toHaveLength(before);
  alive.call.end();
});
