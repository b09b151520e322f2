// A device's registrations as a strip of time.
import type { RegistrationChange } from './api';

export type BindingState = 'registered' | 'unregistered' | 'lapsed' | 'unknown';

export interface Segment {
  state: BindingState;
  from: number; // Unix ms
  to: number;
}

/** segments turns one device's changes, in any order, into states between two moments (Unix ms). */
export function segments(changes: RegistrationChange[], from: number, to: number): Segment[] {
  const sorted = [...changes].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  const out: Segment[] = [];
  let state: BindingState = 'unknown';
  let since = from;
  const close = (until: number) => {
    const end = Math.min(until, to);
    if (end <= since) return;
    const last = out[out.length - 1];
    if (last && last.state === state && last.to === since) last.to = end;
    else out.push({ state, from: since, to: end });
    since = end;
  };
  for (const c of sorted) {
    const at = Date.parse(c.at);
    if (!Number.isFinite(at)) continue;
    if (at > from) close(at);
    state = c.registered ? 'registered' : c.change === 'lapsed' ? 'lapsed' : 'unregistered';
  }
  close(to);
  return out;
}

/** byDevice groups changes by device, the most recently changed device first. */
export function byDevice(changes: RegistrationChange[]): [string, RegistrationChange[]][] {
  const groups = new Map<string, RegistrationChange[]>();
  for (const c of changes) {
    const key = c.device_id || c.aor;
    const group = groups.get(key);
    if (group) group.push(c);
    else groups.set(key, [c]);
  }
  const latest = (g: RegistrationChange[]) => Math.max(...g.map((c) => Date.parse(c.at)));
  return [...groups].sort((a, b) => latest(b[1]) - latest(a[1]));
}
