import { Encoder, type Sample } from './encoder';

/** Entry is what waits until Earshot has it: a sample, or a call event as JSON. */
export interface Entry {
  sample?: Sample;
  event?: string;
  sent?: boolean;
}

export interface PipeOptions {
  url: string;
  key: string;
  /** maxSamples bounds what is kept while Earshot cannot be reached; the oldest go first. */
  maxSamples: number;
  onError: (error: Error) => void;
}

/** now is the clock that getStats() counts by, Unix milliseconds. */
export const now = () => performance.timeOrigin + performance.now();

const protocol = 'earshot.webrtc.v1';
const batchEntries = 100;
const batchesInFlight = 4;
const compressFrom = 400; // characters; less comes out larger
const beaconBytes = 60_000; // browsers take 64 KiB
const openMs = 8000;
const ackMs = 15_000;
const idleMs = 30_000;
const firstRetryMs = 500;
const lastRetryMs = 30_000;
const postEveryMs = 5000;
const socketAgainMs = 60_000;

interface Batch {
  number: number;
  entries: Set<Entry>;
}

/** Pipe brings entries to Earshot, each at least once and in order; the server recognises what it already has. */
export class Pipe {
  private queue: Entry[] = [];
  private dropped = 0;
  private number = 0;
  private inFlight: Batch[] = [];
  private encoder = new Encoder();
  private socket?: WebSocket;
  private packing: Promise<void> = Promise.resolve();
  private patience?: ReturnType<typeof setTimeout>;
  private retry?: ReturnType<typeof setTimeout>;
  private failures = 0;
  private socketFrom = 0;
  private posting = false;
  private over = false;

  constructor(private readonly options: PipeOptions) {}

  push(entry: Entry) {
    if (this.over) return;
    this.queue.push(entry);
    if (this.queue.length > this.options.maxSamples) {
      // Events are few and cannot be seen in later samples.
      let oldest = this.queue.findIndex((e) => e.sample && !e.sent);
      if (oldest < 0) oldest = this.queue.findIndex((e) => !e.sent);
      if (oldest >= 0) {
        this.queue.splice(oldest, 1);
        this.dropped++;
      }
    }
  }

  /** flush sends what waits, as far as it can be sent now. */
  flush() {
    if (this.over || this.retry || this.posting || !this.queue.length) return;
    if (this.socket) {
      if (this.socket.readyState === 1) this.send(this.socket);
    } else if (typeof WebSocket === 'undefined' || now() < this.socketFrom) void this.post();
    else this.open();
  }

  /** hurry ends the pause after a failure: the network is back. */
  hurry() {
    clearTimeout(this.retry);
    this.retry = undefined;
    this.flush();
  }

  /** leave hands to the browser what waits, for the page is about to go. */
  leave() {
    for (let from = 0; from < this.queue.length; from += Math.ceil((this.queue.length - from) / 2)) {
      const body = this.batch(0, new Encoder(), this.queue.slice(from));
      // A beacon can carry no header; the type is one that needs no leave from another origin.
      if (body.length <= beaconBytes) {
        navigator.sendBeacon?.(`${this.path('http')}?key=${encodeURIComponent(this.options.key)}`, new Blob([body], { type: 'text/plain' }));
        return;
      }
    }
  }

  close() {
    this.flush();
    this.over = true;
    // What was sent may still be acknowledged by nobody: the server has it or the beacon brings it.
    if (this.queue.length) this.leave();
    clearTimeout(this.retry);
    this.drop();
  }

  private path(scheme: string): string {
    return this.options.url.replace(/^http/, scheme).replace(/\/+$/, '') + '/ingest/v1/webrtc';
  }

  private batch(number: number, encoder: Encoder, entries: Entry[]): string {
    return [JSON.stringify({ batch: number, sent_at: Math.round(now()), dropped: this.dropped }), ...entries.map((e) => e.event ?? encoder.line(e.sample!))].join('\n');
  }

  private open() {
    let opened = false;
    let socket: WebSocket;
    try {
      socket = new WebSocket(this.path('ws'), [protocol, 'earshot.key.' + this.options.key]);
    } catch {
      this.without();
      return;
    }
    this.socket = socket;
    this.wait(openMs);
    socket.onopen = () => {
      opened = true;
      this.wait(idleMs);
      this.flush();
    };
    socket.onmessage = (m) => {
      if (socket !== this.socket) return;
      const { ack, rejected } = parse(m.data as string);
      this.failures = 0;
      while (this.inFlight[0] && this.inFlight[0].number <= ack) this.done(this.inFlight.shift()!.entries);
      if (rejected) this.options.onError(new Error('Earshot refused ' + JSON.stringify(rejected)));
      this.wait(this.inFlight.length ? ackMs : idleMs);
      this.flush();
    };
    socket.onclose = (e) => {
      if (socket !== this.socket) return;
      // What cannot be read now can never be.
      if (e.code >= 1007 && e.code <= 1009) {
        this.dropped += this.inFlight.reduce((n, b) => n + b.entries.size, 0);
        this.inFlight.forEach((b) => this.done(b.entries));
      }
      this.drop();
      if (opened) this.later();
      else this.without();
    };
  }

  /** without goes on without a socket, for a time. */
  private without() {
    this.socketFrom = now() + socketAgainMs;
    void this.post();
  }

  /** wait gives up the connection unless something happens within ms. */
  private wait(ms: number) {
    clearTimeout(this.patience);
    this.patience = setTimeout(() => {
      // An idle connection is simply not needed; one that does not answer is gone.
      const { socket } = this;
      this.socket?.onclose?.({ code: 0 } as CloseEvent);
      socket?.close();
    }, ms);
  }

  private drop() {
    const { socket } = this;
    clearTimeout(this.patience);
    this.socket = undefined;
    socket?.close();
    this.encoder = new Encoder();
    this.inFlight = [];
    this.queue.forEach((e) => (e.sent = false));
  }

  private done(entries: Set<Entry>) {
    this.queue = this.queue.filter((e) => !entries.has(e));
  }

  private later() {
    if (this.over || !this.queue.length || this.retry) return;
    const ms = Math.min(lastRetryMs, firstRetryMs * 2 ** this.failures++) * (0.5 + Math.random() / 2);
    this.retry = setTimeout(() => this.hurry(), ms);
  }

  private send(socket: WebSocket) {
    while (this.inFlight.length < batchesInFlight) {
      const entries = this.queue.filter((e) => !e.sent).slice(0, batchEntries);
      if (!entries.length) return;
      entries.forEach((e) => (e.sent = true));
      const number = ++this.number;
      const text = this.batch(number, this.encoder, entries);
      if (!this.inFlight.length) this.wait(ackMs);
      this.inFlight.push({ number, entries: new Set(entries) });
      // Packing takes its time; batches must leave in order.
      this.packing = this.packing.then(async () => {
        const body = (await pack(text)) ?? text;
        if (socket.readyState === 1) socket.send(body);
      });
    }
  }

  private async post() {
    if (this.over || this.posting) return;
    this.posting = true;
    const entries = this.queue.slice(0, batchEntries);
    const headers: Record<string, string> = { Authorization: 'Bearer ' + this.options.key, 'Content-Type': 'application/x-ndjson' };
    let status = 0;
    try {
      const text = this.batch(0, new Encoder(), entries);
      const body = await pack(text);
      if (body) headers['Content-Encoding'] = 'gzip';
      const response = await fetch(this.path('http'), { method: 'POST', headers, body: body ?? text, credentials: 'omit' });
      status = response.status;
    } catch {
      // No answer: it is sent again.
    }
    this.posting = false;
    if (status === 401 || status === 403) {
      this.over = true;
      this.queue = [];
      this.options.onError(new Error('Earshot refused the key'));
    } else if (status && status !== 429 && status < 500) {
      this.failures = 0;
      this.done(new Set(entries));
      if (status >= 300) {
        this.dropped += entries.length;
        this.options.onError(new Error(`Earshot refused samples: status ${status}`));
      }
      this.retry = setTimeout(() => this.hurry(), this.queue.length ? 0 : postEveryMs);
    } else {
      // Where neither works the network is away, and the socket is worth another try.
      this.socketFrom = 0;
      this.later();
    }
  }
}

/** parse reads an acknowledgement; one that cannot be read acknowledges nothing. */
function parse(text: string): { ack: number; rejected?: unknown[] } {
  try {
    return JSON.parse(text) as { ack: number; rejected?: unknown[] };
  } catch {
    return { ack: 0 };
  }
}

/** pack compresses, where the browser can and it is worth it. */
async function pack(text: string): Promise<ArrayBuffer | undefined> {
  if (text.length < compressFrom || typeof CompressionStream === 'undefined') return undefined;
  try {
    return await new Response(new Blob([text]).stream().pipeThrough(new CompressionStream('gzip'))).arrayBuffer();
  } catch {
    return undefined;
  }
}
