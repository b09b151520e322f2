import { describe, expect, it } from 'vitest';
import { day, next, portStates, portStateWord, steps } from './ports';

describe('states of port requests', () => {
  it('have words and steps', () => {
    for (const s of portStates) expect([portStateWord(s), steps[s]]).not.toContain(undefined);
    expect(portStateWord('some_other')).toBe('some other');
  });
  it('follow what the API allows', () => {
    expect(next({ state: 'draft', transitions: ['cancelled'] })).toEqual(['cancelled']);
    expect(next({ state: 'draft', transitions: [] })).toEqual([]);
    expect(next({ state: 'submitted' })).toContain('foc_received');
    expect(next({ state: 'completed', transitions: null })).toEqual([]);
  });
});

describe('day', () => {
  it('is the same day everywhere', () => {
    expect(day('2026-12-01')).toMatch(/\b1\b/);
    expect(day('2026-12-01')).toMatch(/2026/);
    expect(day('2026-12-01T00:00:00Z')).toBe(day('2026-12-01'));
  });
  it('leaves what it cannot read', () => {
    expect(day('soon')).toBe('soon');
    expect(day(null)).toBe('');
  });
});
