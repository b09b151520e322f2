// From the API's trend to what the stacked graph draws.
import type { Trend } from './api';
import type { Stack } from './components/TrendChart';
import { title } from './format';

export const palette = ['--c1', '--c2', '--c3', '--c4', '--c5', '--c6', '--c7', '--c8', '--c9', '--c10'];

/** reasonColours keeps a reason's colour the same whatever else is shown. */
const reasonOrder = [
  'on_a_call', 'no_available_endpoints', 'manually_declined', 'ringing_in_progress', 'do_not_disturb', 'after_hours', 'spam',
  'assigned_to_another_operator', 'reserved_to_another_call',
];

const maxSeries = 10;

export interface Group {
  key: string;
  name: string;
  total: number;
  colour: string;
  counts: number[];
}

/** groups are the biggest series of a trend with their names and colours; what does not fit becomes "Others". */
export function groups(trend: Trend): Group[] {
  const sorted = [...trend.series].sort((a, b) => b.total - a.total);
  const kept = sorted.length > maxSeries ? sorted.slice(0, maxSeries - 1) : sorted;
  const rest = sorted.slice(kept.length);
  const byReason = trend.group_by === 'reason';
  const taken = new Set(byReason ? kept.map((s) => reasonOrder.indexOf(s.key)).filter((i) => i >= 0) : []);
  let spare = 0;
  const colour = (key: string): string => {
    const fixed = byReason ? reasonOrder.indexOf(key) : -1;
    if (fixed >= 0) return palette[fixed]!;
    while (taken.has(spare) && spare < palette.length - 1) spare++;
    return palette[Math.min(spare++, palette.length - 1)]!;
  };
  const out = kept.map((s) => ({
    key: s.key,
    name: s.name || title(s.key) || 'Nobody’s',
    total: s.total,
    colour: colour(s.key),
    counts: s.points.map((p) => p.count),
  }));
  if (rest.length > 0) {
    const length = Math.max(...rest.map((s) => s.points.length));
    out.push({
      key: '', name: `Others (${rest.length})`, total: rest.reduce((sum, s) => sum + s.total, 0), colour: '--c-rest',
      counts: Array.from({ length }, (_, i) => rest.reduce((sum, s) => sum + (s.points[i]?.count ?? 0), 0)),
    });
  }
  return out;
}

export function stack(trend: Trend, shown: Group[]): Stack {
  const longest = trend.series.reduce((best, s) => (s.points.length > best.length ? s.points : best), [] as { at: string }[]);
  return {
    at: longest.map((p) => Date.parse(p.at) / 1000),
    series: shown.map((g) => ({ name: g.name, colour: g.colour, counts: g.counts })),
  };
}

/** seconds of an interval as the API writes it: "15m", "1h", "1d". */
export function intervalSeconds(interval: string): number {
  const found = /^(\d+)([smhd])$/.exec(interval);
  if (!found) return 3600;
  return Number(found[1]) * { s: 1, m: 60, h: 3600, d: 86400 }[found[2] as 's' | 'm' | 'h' | 'd'];
}
