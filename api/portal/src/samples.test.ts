import { expect, it } from 'vitest';
import type { Page, Sample } from './api';
import { loadSamples } from './samples';

const page = (n: number, next: string | null): Page<Sample> => ({
  items: Array.from({ length: n }, (_, i): Sample => ({ at: new Date(i).toISOString(), leg_id: 'a', side: 'target', source: 'rtcp', direction: 'target_to_contact' })),
  next_cursor: next,
});

it('reads all pages, then only the last one again', async () => {
  const asked: (string | undefined)[] = [];
  let growth = 3;
  const load = (p: { cursor?: string }) => {
    asked.push(p.cursor);
    return Promise.resolve(p.cursor === undefined ? page(1000, 'two') : page(growth, null));
  };
  const first = await loadSamples(load, undefined);
  expect(asked).toEqual([undefined, 'two']);
  growth = 5;
  const second = await loadSamples(load, first);
  expect(asked).toEqual([undefined, 'two', 'two']);
  expect(second.pages.map((p) => p.items.length)).toEqual([1000, 5]);
  expect(second.truncated).toBe(false);
});

it('stops at a bound and says so', async () => {
  const all = await loadSamples(() => Promise.resolve(page(1, 'again')), undefined);
  expect(all.truncated).toBe(true);
  expect(all.pages.length).toBe(60);
});
