import { describe, expect, it } from 'vitest';
import type { Band, Call, OneWayAudio, Verdict } from './api';
import { headline, oneWayBand, oneWaySentence, rttBand, tally } from './bands';

const call: Call = {
  id: 'c', company: 'default', state: 'ended', direction: 'outbound',
  target: { user_id: 'u', name: 'Ada', number: '+14155550101' },
  contact: { user_id: null, name: '', number: '+12125550123' },
  started_at: '2026-11-02T12:00:00.000Z', connected_at: '2026-11-02T12:00:02.000Z',
};

describe('rttBand', () => {
  it.each([
    [0, 'good'], [99.9, 'good'], [100, 'acceptable'], [199.9, 'acceptable'], [200, 'bad'], [300, 'bad'], [300.1, 'unacceptable'],
    [null, 'unknown'], [Number.NaN, 'unknown'],
  ])('%s ms is %s', (ms, want) => expect(rttBand(ms)).toBe(want));
});

describe('oneWaySentence', () => {
  const one = (o: Partial<OneWayAudio>): OneWayAudio => ({ state: 'confirmed', ...o });
  it('counts from the answer, not from the first message', () => {
    expect(oneWaySentence(one({ direction: 'target_to_contact', from: '+14155550101', to: '+12125550123', since: '2026-11-02T12:00:08.000Z', confidence: 0.98 }), call)).toBe(
      '+1 415 555 0101 (Ada) cannot be heard by +1 212 555 0123 since 0:06 (98 % sure).',
    );
  });
  it('takes the numbers from the parties where the verdict has none', () => {
    expect(oneWaySentence(one({ direction: 'contact_to_target', since: '2026-11-02T12:00:02.000Z' }), call)).toBe(
      '+1 212 555 0123 cannot be heard by +1 415 555 0101 (Ada) from the start.',
    );
  });
  it.each<[OneWayAudio | null, string]>([
    [one({ state: 'suspected', direction: 'contact_to_target', confidence: 0.75 }), '+1 212 555 0123 can probably not be heard by +1 415 555 0101 (Ada) (75 % sure).'],
    [one({ direction: 'both', since: '2026-11-02T12:00:12.000Z' }), 'Neither side can hear the other since 0:10.'],
    [one({ state: 'none' }), 'Both sides could be heard.'],
    [one({ state: 'unknown' }), 'One-way audio could not be judged: a direction was not observed long enough.'],
    [null, 'One-way audio could not be judged: a direction was not observed long enough.'],
  ])('%o', (o, want) => expect(oneWaySentence(o, call)).toBe(want));
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
  it('has no audio to judge', () => {
    expect(oneWaySentence({ state: 'unknown' }, unanswered)).toBe('The call was not answered: there is no audio to judge.');
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
