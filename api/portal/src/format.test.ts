import { describe, expect, it } from 'vitest';
import { ago, duration, offset, phone, quantity, secondsBetween, title, utc } from './format';

describe('format', () => {
  it.each([
    [0, '0:00'], [6, '0:06'], [6.9, '0:06'], [59.9999999, '1:00'], [61, '1:01'], [3725, '1:02:05'], [-2.01, '−0:02'],
  ])('offset %d', (s, want) => expect(offset(s)).toBe(want));

  it.each([
    [null, '–'], [0, '0 s'], [240, '240 ms'], [30_000, '30 s'], [61_400, '1 min 1 s'], [3_600_000, '1 h 0 min'],
  ])('duration %s', (ms, want) => expect(duration(ms)).toBe(want));

  it.each([
    ['+14155550101', '+1 415 555 0101'], ['+4915123456789', '+4915123456789'], ['alice', 'alice'], ['', ''], [null, ''],
  ])('phone %s', (n, want) => expect(phone(n)).toBe(want));

  it.each([
    [undefined, '–'], [0, '0'], [0.126, '0.13'], [12.34, '12.3'], [340.4, '340'], [1234, '1,234'], [Number.NaN, '–'],
  ])('quantity %s', (v, want) => expect(quantity(v)).toBe(want));

  it('writes units after a narrow space', () => expect(quantity(66, 'ms')).toBe('66\u202fms'));
  it('writes UTC in full', () => expect(utc('2026-11-02T12:27:35.4Z')).toBe('2026-11-02 12:27:35.400 UTC'));
  it('leaves unreadable times alone', () => expect(utc('soon')).toBe('soon'));
  it.each([
    ['2026-11-02T12:00:00Z', '2026-11-02T12:00:06.5Z', 6.5], [null, '2026-11-02T12:00:00Z', null], ['x', 'y', null],
  ])('seconds from %s to %s', (a, b, want) => expect(secondsBetween(a, b)).toBe(want));

  const now = Date.parse('2026-11-02T12:00:00Z');
  it.each([
    ['2026-11-02T11:59:30Z', '30 s ago'], ['2026-11-02T11:30:00Z', '30 min ago'], ['2026-11-02T02:00:00Z', '10 h ago'],
    ['2026-10-02T12:00:00Z', '31 days ago'], ['2026-11-02T12:05:00Z', 'in 5 min'],
  ])('ago %s', (at, want) => expect(ago(at, now)).toBe(want));

  it.each([
    ['assigned_to_another_operator', 'Assigned to another operator'], ['rtcp_xr', 'RTCP XR'], ['', ''], [null, ''],
  ])('title %s', (id, want) => expect(title(id)).toBe(want));
});
