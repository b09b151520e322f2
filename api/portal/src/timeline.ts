// Where things stand on a strip of time, as shares of its length.
import type { RegistrationChange } from './api';
import { localTime, title } from './format';

export interface Mark {
  /** at is 0 at the left end, 1 at the right one. */
  at: number;
  kind: 'lapsed' | 'auth_failed' | 'source_changed' | 'flapping' | 'other';
  title: string;
}

const shown: Record<string, Mark['kind']> = {
  lapsed: 'lapsed',
  auth_failed: 'auth_failed',
  source_changed: 'source_changed',
  flapping: 'flapping',
  rejected: 'other',
  interval_too_brief: 'other',
};

// Marks nearer than this cover each other, so they become one.
const near = 1 / 150;

/** eventMarks are what stands out among events in order of time; those of a kind that would cover each other are one mark. */
export function eventMarks(events: RegistrationChange[], from: number, to: number): Mark[] {
  const last = new Map<string, { mark: Mark; count: number; first: string }>();
  const out: Mark[] = [];
  for (const e of events) {
    const kind = shown[e.change];
    const at = (Date.parse(e.at) - from) / (to - from);
    if (!kind || at < 0 || at > 1) continue;
    const before = last.get(kind);
    if (before && at - before.mark.at < near) {
      before.count++;
      before.mark.title = `${before.count} × ${title(e.change)} since ${localTime(before.first)}\n${e.text ?? ''}`;
      continue;
    }
    const mark: Mark = { at, kind, title: `${localTime(e.at)} ${title(e.change)}\n${e.text ?? ''}` };
    last.set(kind, { mark, count: 1, first: e.at });
    out.push(mark);
  }
  return out;
}

const hour = 3_600_000;

/** axisTimes are at most five labels in the viewer's zone: hours within two days, else days. */
export function axisTimes(from: number, to: number): { at: number; ms: number; text: string }[] {
  const days = to - from > 50 * hour;
  const step = [hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, 24 * hour, 48 * hour, 168 * hour].find((s) => (to - from) / s <= 5) ?? (to - from) / 4;
  const write = new Intl.DateTimeFormat(undefined, days ? { weekday: 'short', day: 'numeric' } : { hour: '2-digit', minute: '2-digit' });
  const midnight = new Date(from);
  midnight.setHours(0, 0, 0, 0);
  const out = [];
  for (let ms = midnight.getTime(); ms <= to; ms += step) {
    if (ms >= from) out.push({ at: (ms - from) / (to - from), ms, text: write.format(ms) });
  }
  return out;
}
