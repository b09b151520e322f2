import type { Report, Stats } from './sample';

/** Leg is one end of a call: what every whole sample of it begins with. */
export interface Leg {
  head: Record<string, string | undefined>;
}

/** Sample is what one getStats() said. */
export interface Sample {
  leg: Leg;
  at: number;
  muted?: boolean;
  stats: Stats;
}

/** slots is how many legs the server keeps for a connection. */
const slots = 64;

/** wholeEvery samples one is sent whole. */
const wholeEvery = 60;

/** change gives what turns before into now: null removes. */
function change<T>(before: Record<string, T>, now: Record<string, T>, differ: (a: T, b: T) => unknown): Record<string, unknown> | undefined {
  const out: Record<string, unknown> = {};
  let any;
  for (const name in now) {
    const value = before[name] === undefined ? now[name] : differ(before[name], now[name]!);
    if (value !== undefined) any = out[name] = value;
  }
  for (const name in before) {
    if (now[name] === undefined) {
      out[name] = null;
      any = 1;
    }
  }
  return any === undefined ? undefined : out;
}

const memberChange = (a: unknown, b: unknown) => (a === b ? undefined : b);
const reportChange = (a: Report, b: Report) => change(a, b, memberChange);

/** Encoder writes samples for one connection, or one body: each says only what is new since the one before it. */
export class Encoder {
  private slots: { leg?: Leg; last?: Sample; sent: number }[] = [];
  private next = 0;

  line(sample: Sample): string {
    const { leg, at, muted, stats } = sample;
    let ref = this.slots.findIndex((s) => s.leg === leg);
    if (ref < 0) {
      ref = this.next++ % slots;
      this.slots[ref] = { leg, sent: 1 };
    }
    const slot = this.slots[ref]!;
    const { last } = slot;
    slot.last = sample;
    // JSON leaves out what is undefined.
    return JSON.stringify(
      last && slot.sent++ % wholeEvery
        ? { ref, at, muted: last.muted === muted ? undefined : (muted ?? null), stats: change(last.stats, stats, reportChange) }
        : { ref, ...leg.head, at, muted, stats },
    );
  }
}
