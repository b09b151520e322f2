import { describe, expect, it } from 'vitest';
import { digits, fromLocalInput, looksLikeNumber, only, parseSearch, span, stringifySearch, toLocalInput } from './urlstate';

describe('addresses', () => {
  it.each([
    ['?q=415', { q: '415' }],
    ['?number=%2B14155550101', { number: '+14155550101' }],
    ['?number=+14155550101', { number: '+14155550101' }],
    ['?q=a+b&state=', { q: 'a b' }],
    ['?rejected=true', { rejected: 'true' }],
    ['', {}],
  ])('reads %s as text', (search, want) => expect(parseSearch(search)).toEqual(want));

  it('writes what it can read again', () => {
    const state = { number: '+14155550101', q: 'a84b@10.0.0.5 x&y=z', empty: '', none: undefined };
    expect(parseSearch(stringifySearch(state))).toEqual({ number: '+14155550101', q: 'a84b@10.0.0.5 x&y=z' });
    expect(stringifySearch({})).toBe('');
  });

  it('keeps only known parameters', () => {
    expect(only({ q: 'x', other: 'y', limit: 5 }, ['q', 'limit', 'state'] as const)).toEqual({ q: 'x', limit: '5' });
  });
});

describe('span', () => {
  const now = Date.parse('2026-11-02T12:34:56.789Z');
  it.each([
    [{ range: '1h' }, null, { from: '2026-11-02T11:34:00.000Z' }],
    [{}, '24h', { from: '2026-11-01T12:34:00.000Z' }],
    [{}, null, {}],
    [{ range: 'custom' }, '24h', {}],
    [{ range: '1h', from: '2009-01-01T00:00:00.000Z' }, null, { from: '2009-01-01T00:00:00.000Z', to: undefined }],
  ])('%o by default %s', (search, fallback, want) => expect(span(search, fallback, now)).toEqual(want));
});

describe('local times of inputs', () => {
  it('survive the way there and back to the minute', () => {
    expect(fromLocalInput(toLocalInput('2026-11-02T12:34:56.789Z'))).toBe('2026-11-02T12:34:00.000Z');
    expect(fromLocalInput('')).toBeUndefined();
    expect(toLocalInput('no time')).toBe('');
  });
});

describe('what a search is for', () => {
  it.each([
    ['+1 (415) 555-0101', true, '+14155550101'],
    ['415', true, '415'],
    ['0101', true, '0101'],
    ['w1_clean', false, '1'],
    ['Ada', false, ''],
    ['(', false, ''],
  ])('%s', (q, number, written) => {
    expect(looksLikeNumber(q)).toBe(number);
    expect(digits(q)).toBe(written);
  });
});
