import { describe, expect, it } from 'vitest';
import type { QualityFigures, QualitySeries } from './api';
import { badShare, change, groupName, percent, verdicts, verdictStack, weekBefore } from './quality';

const figures = (good: number, bad: number, unacceptable = 0): QualityFigures => ({
  calls: good + bad + unacceptable, verdicts: { good, acceptable: 0, bad, unacceptable, unknown: 0 }, shares: {}, one_way: 0, one_way_share: null,
  rtt_ms: null, jitter_ms: null, loss_percent: null, mos: null,
});

it('counts bad and unacceptable calls together, and none where there is no call', () => {
  expect(badShare(figures(7, 2, 1))).toBeCloseTo(0.3);
  expect(badShare(figures(0, 0))).toBeNull();
});

it.each([[null, '–'], [0, '0\u202f%'], [0.0004, '<0.1\u202f%'], [0.034, '3.4\u202f%'], [0.255, '25.5\u202f%'], [1, '100\u202f%']])('share %s', (share, want) => expect(percent(share)).toBe(want));

it.each([[0.05, 0.03, '+2'], [0.03, 0.05, '−2'], [0.05, 0.05, '±0'], [null, 0.1, '–'], [0.1, null, '–']])('%s after %s', (now, before, want) => expect(change(now, before)).toBe(want));

describe('groups', () => {
  it('are named', () => {
    expect(groupName('office', { key: 'hq', name: 'Headquarters', other: false }, 3, 3)).toBe('Headquarters');
    expect(groupName('endpoint', { key: 'desk_phone', name: 'desk_phone', other: false }, 3, 3)).toBe('Desk phone');
    expect(groupName('office', { key: '', name: '', other: false }, 3, 3)).toBe('Not known');
    expect(groupName('user', { key: '', name: 'Other', other: true }, 1210, 10)).toBe('Others (1,200)');
  });
  it('are drawn by verdict and told in words', () => {
    const s: QualitySeries = {
      key: '', name: 'All calls', other: false, ...figures(3, 1),
      points: [{ at: '2026-11-02T12:00:00.000Z', ...figures(1, 0) }, { at: '2026-11-02T13:00:00.000Z', ...figures(2, 1) }],
    };
    const stack = verdictStack(s);
    expect(stack.at).toEqual([1793620800, 1793624400]);
    expect(stack.series.map((l) => [l.name, l.colour, l.counts])).toEqual([
      ['Good', '--fill-good', [1, 2]], ['Acceptable', '--fill-acceptable', [0, 0]], ['Bad', '--fill-bad', [0, 1]],
      ['Unacceptable', '--fill-unacceptable', [0, 0]], ['Unknown', '--fill-unknown', [0, 0]],
    ]);
    expect(verdicts(s)).toBe('good 75\u202f%, bad 25\u202f%');
  });
});

it('goes back a week', () => {
  expect(weekBefore({ from: '2026-11-02T12:00:00.000Z', to: '2026-11-03T12:00:00.000Z' })).toEqual({ from: '2026-10-26T12:00:00.000Z', to: '2026-10-27T12:00:00.000Z' });
});
