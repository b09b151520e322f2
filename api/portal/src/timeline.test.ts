import { expect, test } from 'vitest';
import type { RegistrationChange } from './api';
import { axisTimes, eventMarks } from './timeline';

const from = Date.parse('2026-03-04T00:00:00Z');
const event = (minute: number, change: string): RegistrationChange => ({
  at: new Date(from + minute * 60_000).toISOString(), aor: 'a@x', device_id: 'd', change, registered: false, text: `what ${change}`,
});

test('marks of a kind that would cover each other are one, and it counts them', () => {
  const marks = eventMarks([event(0, 'lapsed'), event(1, 'lapsed'), event(2, 'auth_failed'), event(720, 'lapsed'), event(730, 'registered'), event(5000, 'lapsed')], from, from + 86_400_000);
  expect(marks.map((m) => [m.at, m.kind])).toEqual([[0, 'lapsed'], [2 / 1440, 'auth_failed'], [0.5, 'lapsed']]);
  expect(marks[0]!.title).toContain('2 × Lapsed');
  expect(marks[2]!.title).toContain('what lapsed');
});

test('an axis has one to six labels, in order and inside', () => {
  for (const hours of [1, 3, 10, 24, 48, 168, 24 * 31]) {
    const axis = axisTimes(from + 1234567, from + 1234567 + hours * 3_600_000);
    expect(axis.length, `${hours} h`).toBeGreaterThan(0);
    expect(axis.length, `${hours} h`).toBeLessThan(7);
    for (const x of axis) expect(x.at >= 0 && x.at <= 1).toBe(true);
  }
});
