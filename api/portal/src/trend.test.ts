import { describe, expect, it } from 'vitest';
import type { Trend } from './api';
import { groups, intervalSeconds, stack } from './trend';

const at = ['2026-11-02T12:00:00.000Z', '2026-11-02T13:00:00.000Z'];
const trend = (group_by: string, series: [string, number, number][]): Trend => ({
  interval: '1h', group_by, time_zone: 'UTC', from: at[0]!, to: at[1]!,
  series: series.map(([key, a, b]) => ({ key, name: '', total: a + b, points: [{ at: at[0]!, count: a }, { at: at[1]!, count: b }] })),
});

describe('groups', () => {
  it('puts the biggest first and gives a reason the same colour wherever it stands', () => {
    const g = groups(trend('reason', [['spam', 1, 0], ['on_a_call', 2, 3]]));
    expect(g.map((x) => [x.key, x.name, x.total, x.colour])).toEqual([['on_a_call', 'On a call', 5, '--c1'], ['spam', 'Spam', 1, '--c7']]);
    expect(groups(trend('reason', [['spam', 1, 0]]))[0]!.colour).toBe('--c7');
  });
  it('does not give an unlisted reason a colour that is taken', () => {
    const g = groups(trend('reason', [['on_a_call', 2, 3], ['no_answer', 1, 0]]));
    expect(g[1]!.colour).not.toBe(g[0]!.colour);
  });
  it('sums up what does not fit', () => {
    const g = groups(trend('agent', Array.from({ length: 14 }, (_, i): [string, number, number] => [`u${i}`, 14 - i, 1])));
    expect(g.length).toBe(10);
    expect(g[9]).toMatchObject({ name: 'Others (5)', total: 20, counts: [15, 5] });
  });
});

it('stacks counts on the begins of the buckets', () => {
  const t = trend('reason', [['spam', 1, 4]]);
  expect(stack(t, groups(t))).toEqual({ at: at.map((a) => Date.parse(a) / 1000), series: [{ name: 'Spam', colour: '--c7', counts: [1, 4] }] });
});

it.each([['1m', 60], ['15m', 900], ['6h', 21600], ['1d', 86400], ['x', 3600]])('interval %s', (text, want) => expect(intervalSeconds(text)).toBe(want));
