import { expect, it } from 'vitest';
import { changes } from './changes';

it('keeps what differs', () => {
  const before = { name: 'Ada', email: 'ada@x.example', aors: ['a', 'b'], departments: ['sales'], date: null as string | null };
  expect(changes(before, { ...before })).toEqual({});
  expect(changes(before, { ...before, aors: ['b', 'a'] })).toEqual({});
  expect(changes(before, { ...before, aors: ['a'] })).toEqual({ aors: ['a'] });
  expect(changes(before, { ...before, aors: ['a', 'c'] })).toEqual({ aors: ['a', 'c'] });
  expect(changes(before, { ...before, email: '', departments: [], date: '2026-12-01' })).toEqual({ email: '', departments: [], date: '2026-12-01' });
});
