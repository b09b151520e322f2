import { expect, test } from 'vitest';
import { Encoder, type Leg, type Sample } from '../src/encoder';

const leg: Leg = { head: { call_id: 'c', leg_id: 'l', side: undefined } };
const sample = (at: number, stats: Sample['stats'], muted?: boolean, of = leg): Sample => ({ leg: of, at, stats, muted });
const lines = (...samples: Sample[]) => {
  const encoder = new Encoder();
  return samples.map((s) => JSON.parse(encoder.line(s)) as Record<string, unknown>);
};

test('the first sample is whole, the next say what changed', () => {
  expect(
    lines(
      sample(1, { I: { type: 'inbound-rtp', jitter: 0.1, packetsReceived: 1 }, O: { type: 'outbound-rtp' } }),
      sample(2, { I: { type: 'inbound-rtp', jitter: 0.1, packetsReceived: 2 }, O: { type: 'outbound-rtp' } }, true),
      sample(3, { I: { type: 'inbound-rtp', packetsReceived: 2 }, R: { type: 'x' } }, true),
      sample(4, { I: { type: 'inbound-rtp', packetsReceived: 2 }, R: { type: 'x' } }),
    ),
  ).toEqual([
    { ref: 0, call_id: 'c', leg_id: 'l', at: 1, stats: { I: { type: 'inbound-rtp', jitter: 0.1, packetsReceived: 1 }, O: { type: 'outbound-rtp' } } },
    { ref: 0, at: 2, muted: true, stats: { I: { packetsReceived: 2 } } },
    { ref: 0, at: 3, stats: { I: { jitter: null }, R: { type: 'x' }, O: null } },
    { ref: 0, at: 4, muted: null },
  ]);
});

test('one of sixty samples is whole', () => {
  const whole = lines(...Array.from({ length: 130 }, (_, i) => sample(i, {}))).flatMap((l, i) => (l.call_id ? [i] : []));
  expect(whole).toEqual([0, 60, 120]);
});

test('legs have their own numbers, which are used again', () => {
  const legs = Array.from({ length: 65 }, (_, i): Leg => ({ head: { call_id: String(i) } }));
  const all = lines(...legs.map((l) => sample(1, {}, undefined, l)), sample(2, {}, undefined, legs[64]), sample(2, {}, undefined, legs[0]));
  expect(all.map((l) => l.ref)).toEqual([...Array(64).keys(), 0, 0, 1]);
  expect(all.slice(-2)).toEqual([{ ref: 0, at: 2 }, { ref: 1, call_id: '0', at: 2, stats: {} }]);
});
