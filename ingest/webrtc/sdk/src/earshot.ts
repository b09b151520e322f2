/**
 * Sends the quality of a page's WebRTC calls to Earshot.
 *
 *     const earshot = new Earshot({ url: 'https://earshot.example.com', key, user: 'alice' });
 *     const call = earshot.attach(pc, { callId: '42' });
 *     call.mute(true);
 *     call.rate(4, 'a little choppy');
 *     call.end();
 *
 * Nothing here throws into the page, keeps a connection alive or needs another package.
 */
import type { Leg } from './encoder';
import { now, Pipe } from './pipe';
import { reduce } from './sample';

export interface Options {
  /** url is where Earshot is: https://earshot.example.com */
  url: string;
  /** key is an API key of role ingest: whoever reads the page's source has it. */
  key: string;
  /** user is the id of the user who is signed in to the app. */
  user?: string;
  /** device tells the user's devices apart. */
  device?: string;
  /** appKind is what runs the page; web where it is not given. */
  appKind?: 'web' | 'native' | 'packaged_app' | 'mobile';
  appVersion?: string;
  /** platform is the browser and its version where it is not given. */
  platform?: string;
  /** intervalMs is the time between two samples; 1000 where it is not given. */
  intervalMs?: number;
  /** maxSamples are kept while Earshot cannot be reached, then the oldest go; 600 where it is not given. */
  maxSamples?: number;
  /** onError is told what Earshot refuses. Being offline is no error. */
  onError?: (error: Error) => void;
}

export interface CallOptions {
  /** callId is the call's id, the same on all its legs: the SIP Call-ID, where there is one. */
  callId: string;
  /** legId tells this end of the call from the others; one is made where it is not given. */
  legId?: string;
  /** side is whose end this is: target is the user whose call it is, contact the other party. */
  side?: 'target' | 'contact';
  /** from and to are numbers or addresses. */
  from?: string;
  to?: string;
}

/** CallSource is what is known of a call, or how to find out later: it is asked before each sample until it answers. */
export type CallSource = CallOptions | (() => CallOptions | undefined);

export interface AttachAllOptions extends Options {
  /** call says which call a new connection belongs to; connections without one are left alone. */
  call: (pc: RTCPeerConnection) => CallOptions | undefined;
}

export type EventType =
  | 'started' | 'ringing' | 'connected' | 'held' | 'resumed' | 'muted' | 'unmuted' | 'transferred' | 'ended' | 'rejected' | 'rated' | 'recording_changed';

/** Call is one connection that is watched. */
export interface Call {
  /** mute says whether the user has muted the microphone. Where it is never called, tracks that are not enabled count as muted. */
  mute(muted: boolean): void;
  /** rate gives the user's rating, 1 (bad) to 5 (good). */
  rate(rating: 1 | 2 | 3 | 4 | 5, text?: string): void;
  /** event tells of something that happened to the call; data as in the documentation of call events. */
  event(type: EventType, data?: Record<string, unknown>): void;
  /** end says that the call is over and stops watching. */
  end(): void;
  /** detach stops watching; the call goes on. */
  detach(): void;
}

const random = () => Math.random().toString(36).slice(2, 12);

const quietly = (f: () => unknown) => {
  try {
    f();
  } catch {
    // The page must not suffer from being watched.
  }
};

class Watched implements Call {
  readonly leg: Leg = { head: {} };
  private readonly pc: { deref(): RTCPeerConnection | undefined };
  private muted?: boolean;
  private last = 0;
  private waiting: [EventType, Record<string, unknown> | undefined, number][] = [];
  private known = false;
  private busy = false;

  constructor(
    private readonly earshot: Earshot,
    pc: RTCPeerConnection,
    private readonly source: CallSource,
    private readonly common: Record<string, string | undefined>,
  ) {
    this.pc = typeof WeakRef === 'undefined' ? { deref: () => pc } : new WeakRef(pc);
  }

  /** sample takes one; false: there is nothing to watch any more. */
  async sample(pipe: Pipe): Promise<boolean> {
    const pc = this.pc.deref();
    if (!pc || pc.signalingState === 'closed') return false;
    // getStats() of a busy page may take longer than the interval.
    if (!this.busy && this.identify()) {
      this.busy = true;
      const report = await pc.getStats().finally(() => (this.busy = false));
      const { stats, at } = reduce(report);
      const time = at || Math.round(now());
      // A browser may give the same statistics twice in a short time.
      if (time > this.last) {
        this.last = time;
        pipe.push({ sample: { leg: this.leg, at: time, muted: this.muted ?? silenced(pc), stats } });
      }
    }
    return true;
  }

  mute(muted: boolean) {
    if (this.muted === muted) return;
    this.muted = muted;
    this.event(muted ? 'muted' : 'unmuted');
  }

  rate(rating: number, text?: string) {
    this.event('rated', { rating, text });
  }

  event(type: EventType, data?: Record<string, unknown>) {
    quietly(() => {
      if (this.identify()) this.tell(type, data, now());
      else this.waiting.push([type, data, now()]);
    });
  }

  end() {
    this.event('ended');
    this.detach();
  }

  detach() {
    this.earshot.forget(this);
  }

  private identify(): boolean {
    if (this.known) return true;
    const call = typeof this.source === 'function' ? this.source() : this.source;
    if (!call?.callId) return false;
    this.known = true;
    this.leg.head = { call_id: call.callId, leg_id: call.legId ?? `${this.common.user_id ?? 'leg'}-${random()}`, side: call.side, from: call.from, to: call.to, ...this.common };
    for (const told of this.waiting) this.tell(...told);
    this.waiting = [];
    return true;
  }

  private tell(type: EventType, data: Record<string, unknown> | undefined, at: number) {
    const { call_id, leg_id, side, user_id, endpoint } = this.leg.head;
    this.earshot.send(
      JSON.stringify({
        specversion: '1.0',
        id: random() + random(),
        source: 'earshot-webrtc',
        type: 'earshot.call.' + type,
        time: new Date(at).toISOString(),
        data: { call_id, leg_id, side, user: user_id && { user_id }, endpoint, ...data },
      }),
    );
  }
}

/** silenced says whether all microphones of a connection are switched off; undefined: it has none. */
function silenced(pc: RTCPeerConnection): boolean | undefined {
  const microphones = pc.getSenders().flatMap((s) => (s.track?.kind === 'audio' ? [s.track] : []));
  return microphones.length ? microphones.every((t) => !t.enabled) : undefined;
}

/** browser is the browser's name and major version. */
function browser(): string | undefined {
  if (typeof navigator === 'undefined') return undefined; // rendered on a server
  // Others call themselves Chrome too, and all but Firefox Safari.
  for (const names of ['Edg|OPR', 'Firefox|Chrome', 'Version']) {
    const found = new RegExp(`(${names})/(\\d+)`).exec(navigator.userAgent);
    if (found) return `${found[1]!.replace('Version', 'Safari')} ${found[2]}`;
  }
  return undefined;
}

export class Earshot {
  private readonly pipe: Pipe;
  private readonly common: Record<string, string | undefined>;
  private readonly intervalMs: number;
  private readonly calls = new Set<Watched>();
  private timer?: ReturnType<typeof setTimeout>;
  private readonly listening = new AbortController();

  constructor(options: Options) {
    const { url, key, user, device, appKind, appVersion, platform, intervalMs, maxSamples, onError } = options;
    this.intervalMs = Math.max(200, intervalMs ?? 1000);
    this.pipe = new Pipe({ url, key, maxSamples: maxSamples ?? 600, onError: (error) => quietly(() => onError?.(error)) });
    this.common = { user_id: user, device_id: device, endpoint: appKind ?? 'web', app_version: appVersion, platform: platform ?? browser() };
    quietly(() => {
      const { signal } = this.listening;
      addEventListener('online', () => quietly(() => this.pipe.hurry()), { signal });
      addEventListener('pagehide', () => quietly(() => this.pipe.leave()), { signal });
      // A page that is hidden may be ended without another word.
      addEventListener('visibilitychange', () => this.tick(), { signal });
    });
  }

  /** attach watches a connection from now on, until it is closed. */
  attach(pc: RTCPeerConnection, call: CallSource): Call {
    const watched = new Watched(this, pc, call, this.common);
    this.calls.add(watched);
    this.tick();
    return watched;
  }

  /**
   * attachAll watches every connection that the page makes from now on. stop makes
   * RTCPeerConnection what it was.
   */
  static attachAll(options: AttachAllOptions): { earshot: Earshot; stop: () => void } {
    const earshot = new Earshot(options);
    const native = globalThis.RTCPeerConnection;
    globalThis.RTCPeerConnection = class RTCPeerConnection extends native {
      constructor(...given: ConstructorParameters<typeof native>) {
        super(...given);
        quietly(() => {
          const pc: { deref(): globalThis.RTCPeerConnection | undefined } = typeof WeakRef === 'undefined' ? { deref: () => this } : new WeakRef(this);
          earshot.attach(this, () => {
            const alive = pc.deref();
            return alive && options.call(alive);
          });
        });
      }
    };
    return { earshot, stop: () => void (globalThis.RTCPeerConnection = native) };
  }

  /** close sends what waits and stops everything. */
  close() {
    this.calls.clear();
    clearTimeout(this.timer);
    this.listening.abort();
    quietly(() => this.pipe.close());
  }

  /** @internal */
  send(event: string) {
    this.pipe.push({ event });
    this.pipe.flush();
  }

  /** @internal */
  forget(call: Watched) {
    this.calls.delete(call);
  }

  private tick() {
    clearTimeout(this.timer);
    if (this.calls.size) this.timer = setTimeout(() => this.tick(), this.intervalMs);
    const all = [...this.calls].map((call) =>
      call
        .sample(this.pipe)
        .then((alive) => alive || this.calls.delete(call))
        .catch(() => undefined),
    );
    const flush = () => quietly(() => this.pipe.flush());
    // All calls of a page go into one batch; one whose statistics never come must not hold up the others.
    void Promise.all(all).then(flush);
    if (all.length > 1) flush();
  }
}
