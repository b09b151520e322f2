import { describe, expect, it } from 'vitest';
import type { RegistrationChange } from './api';
import { byDevice, segments } from './bindings';

const t = (minute: number) => Date.UTC(2026, 10, 2, 12, minute);
const change = (minute: number, what: string, registered: boolean, device = 'd'): RegistrationChange => ({
  at: new Date(t(minute)).toISOString(), aor: 'a@b', device_id: device, change: what, registered,
});

describe('segments', () => {
  it('joins refreshes and tells a lapse from an unregistration', () => {
    // The API lists the newest first.
    const changes = [change(40, 'registered', true), change(30, 'unregistered', false), change(20, 'registered', true), change(15, 'lapsed', false), change(5, 'refreshed', true), change(0, 'registered', true)];
    expect(segments(changes, t(0), t(50))).toEqual([
      { state: 'registered', from: t(0), to: t(15) },
      { state: 'lapsed', from: t(15), to: t(20) },
      { state: 'registered', from: t(20), to: t(30) },
      { state: 'unregistered', from: t(30), to: t(40) },
      { state: 'registered', from: t(40), to: t(50) },
    ]);
  });
  it('does not know what was before the first change', () => {
    expect(segments([change(10, 'registered', true)], t(0), t(20))).toEqual([
      { state: 'unknown', from: t(0), to: t(10) },
      { state: 'registered', from: t(10), to: t(20) },
    ]);
  });
  it('carries the state into a window that begins later', () => {
    expect(segments([change(0, 'registered', true)], t(10), t(20))).toEqual([{ state: 'registered', from: t(10), to: t(20) }]);
  });
});

it('groups by device, the latest first', () => {
  const groups = byDevice([change(1, 'registered', true, 'old'), change(9, 'registered', true, 'new'), change(5, 'lapsed', false, 'old')]);
  expect(groups.map(([d, c]) => [d, c.length])).toEqual([['new', 1], ['old', 2]]);
});
