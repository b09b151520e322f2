import { describe, expect, it } from 'vitest';
import type { Band, Call, Verdict } from './api';
import { headline, oneWayBand, rttBands, tally } from './bands';

const call: Call = {
  id: 'c', company: 'default', state: 'ended', direction: 'outbound',
  target: { user_id: 'u', name: 'Ada', number: '+14155550101' },
  contact: { user_id: null, name: '', number: '+12125550123' },
  started_at: '2026-11-02T12:00:00.000Z', connected_at: '2026-11-02T12:00:02.000Z',
};

describe('rttBands', () => {
  it('are those of the rules that the verdict was made with', () => {
    expect(rttBands({ delay_good_ms: 150, delay_acceptable_ms: 250, delay_bad_ms: 400 }).map((b) => b.label)).toEqual([
      '<150 ms good', '150–250 ms acceptable', '250–400 ms bad', '>400 ms unacceptable',
    ]);
  });
  it('are not made up where no rules are known', () => expect(rttBands(null)).toEqual([]));
});

describe('headline', () => {
  const verdict = (overall: Band, more: Partial<Verdict> = {}): Verdict => ({ overall, final: true, ...more });
  it.each<[Verdict | null, string]>([
    [null, 'No verdict yet'],
    [verdict('good'), 'Good call'],
    [verdict('unknown'), 'Not enough was observed'],
    [verdict('bad', { jitter: { band: 'bad' }, loss: { band: 'acceptable' } }), 'Bad: choppy audio'],
    [verdict('unacceptable', { delay: { band: 'unacceptable' }, loss: { band: 'unacceptable' } }), 'Unacceptable: delay, packet loss'],
    [verdict('unacceptable', { one_way_audio: { state: 'confirmed', direction: 'both' } }), 'No audio'],
    [verdict('bad', { one_way_audio: { state: 'suspected', direction: 'target_to_contact' } }), 'One-way audio suspected'],
  ])('%o', (v, want) => expect(headline({ ...call, verdict: v })).toBe(want));
});

describe('a call that was not answered', () => {
  const unanswered: Call = { ...call, connected_at: null, verdict: { overall: 'unknown', final: true } };
  it('counts in no band', () => {
    expect(tally([unanswered])).toEqual([]);
  });
  it.each<[Partial<Call>, string]>([
    [{}, 'Not answered'],
    [{ state: 'live' }, 'Ringing'],
    [{ rejections: [{ reason: 'do_not_disturb', at: call.started_at }] }, 'Rejected: do not disturb'],
  ])('%o', (more, want) => expect(headline({ ...unanswered, ...more })).toBe(want));
});

it('never calls an unknown one-way state good', () => {
  expect(oneWayBand(undefined)).toBe('unknown');
  expect(oneWayBand({ state: 'unknown' })).toBe('unknown');
  expect(oneWayBand({ state: 'none' })).toBe('good');
});

it('tallies calls in the order of the bands, without a verdict as unknown', () => {
  const of = (overall: Band): Call => ({ ...call, verdict: { overall, final: true } });
  expect(tally([of('bad'), call, of('good'), of('bad')])).toEqual([
    { band: 'good', count: 1 }, { band: 'bad', count: 2 }, { band: 'unknown', count: 1 },
  ]);
});
