// From the API's trend of quality to what the page draws and says.
import type { Band, QualityFigures, QualitySeries, QualityTrend } from './api';
import type { Stack } from './components/TrendChart';
import { count, quantity, title } from './format';

export const bands: Band[] = ['good', 'acceptable', 'bad', 'unacceptable', 'unknown'];

/** groupings are what calls can be grouped by, with the filter of the page that each is. */
export const groupings: [string, string][] = [
  ['office', 'Office'], ['department', 'Department'], ['contact_center', 'Contact centre'], ['app_version', 'App version'], ['platform', 'Platform'],
  ['endpoint', 'Kind of phone'], ['network', 'Network'], ['user', 'User'], ['direction', 'Direction'],
];

export const filters = ['office', 'department', 'contact_center', 'app_version', 'platform', 'endpoint', 'network', 'user', 'direction'] as const;
export type QualityFilter = (typeof filters)[number];
export const isFilter = (name: string): name is QualityFilter => (filters as readonly string[]).includes(name);

/** groupName is what a series is called. */
export function groupName(groupBy: string, s: Pick<QualitySeries, 'key' | 'name' | 'other'>, groups: number, shown: number): string {
  if (s.other) return `Others (${count(groups - shown)})`;
  if (!s.key) return 'Not known';
  return groupBy === 'endpoint' || groupBy === 'direction' ? title(s.key) : s.name || s.key;
}

/** badShare is that of bad and unacceptable calls; null where there is no call. */
export function badShare(f: Pick<QualityFigures, 'calls' | 'verdicts'>): number | null {
  if (f.calls === 0) return null;
  return ((f.verdicts.bad ?? 0) + (f.verdicts.unacceptable ?? 0)) / f.calls;
}

/** percent writes a share; what is there is never 0 %. */
export function percent(share: number | null | undefined): string {
  if (share === null || share === undefined) return '–';
  if (share > 0 && share < 0.001) return '<0.1\u202f%';
  return quantity(Math.round(share * 1000) / 10, '%');
}

/** change compares a share with that of a week before, in points of a percent. */
export function change(now: number | null, before: number | null): string {
  if (now === null || before === null) return '–';
  const points = Math.round((now - before) * 1000) / 10;
  if (points === 0) return '±0';
  return `${points > 0 ? '+' : '−'}${quantity(Math.abs(points))}`;
}

/** verdicts says a series in words, for those who do not see its bar. */
export function verdicts(f: QualityFigures): string {
  return bands
    .filter((b) => (f.verdicts[b] ?? 0) > 0)
    .map((b) => `${title(b).toLowerCase()} ${percent((f.verdicts[b] ?? 0) / f.calls)}`)
    .join(', ');
}

/** verdictStack stacks the calls of a series by verdict, the worst on top. */
export function verdictStack(s: QualitySeries): Stack {
  return {
    at: s.points.map((p) => Date.parse(p.at) / 1000),
    series: bands.map((b) => ({ name: title(b), colour: `--fill-${b}`, counts: s.points.map((p) => p.verdicts[b] ?? 0) })),
  };
}

const week = 7 * 24 * 3600_000;

/** weekBefore is the same time a week earlier. */
export function weekBefore(t: Pick<QualityTrend, 'from' | 'to'>): { from: string; to: string } {
  return { from: new Date(Date.parse(t.from) - week).toISOString(), to: new Date(Date.parse(t.to) - week).toISOString() };
}
