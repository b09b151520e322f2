import { expect, test } from 'vitest';
import { left, type WholeSnapshot } from './snapshots';

const whole = {
  samples: { items: [], total: 30, every: 1, truncated: false },
  messages: { items: [], truncated: false },
  events: { items: [], truncated: false },
} as unknown as WholeSnapshot;

test('a whole snapshot has nothing to say', () => {
  expect(left(whole)).toEqual([]);
});

test('what was left out is said', () => {
  const said = left({
    ...whole,
    samples: { items: [], total: 90_030, every: 8, truncated: true },
    messages: { items: [], truncated: true },
    events: { items: [], truncated: true },
  });
  expect(said).toHaveLength(4);
  expect(said[0]).toContain('90,030 samples; one of every 8');
});
