// The state of a page as it stands in its address, so that a link shows what its sender saw.

/** parseSearch reads a query string as plain text: "q=415" stays the text 415, "+" stays a plus in a number. */
export function parseSearch(search: string): Record<string, string> {
  const out: Record<string, string> = {};
  // A bare + comes from people who type a number into the address bar; what we write is escaped as %2B.
  for (const [key, value] of new URLSearchParams(search.replace(/=\+(?=\d)/g, '=%2B'))) if (value !== '') out[key] = value;
  return out;
}

/** stringifySearch is the inverse; empty values are left out. */
export function stringifySearch(search: Record<string, unknown>): string {
  const q = new URLSearchParams();
  for (const [key, value] of Object.entries(search)) {
    if (value === undefined || value === null || value === '') continue;
    q.set(key, String(value));
  }
  const text = q.toString();
  return text ? `?${text}` : '';
}

/** only keeps the named parameters, as text. */
export function only<K extends string>(search: Record<string, unknown>, keys: readonly K[]): Partial<Record<K, string>> {
  const out: Partial<Record<K, string>> = {};
  for (const key of keys) {
    const value = search[key];
    if (typeof value === 'string' && value !== '') out[key] = value;
    else if (typeof value === 'number' || typeof value === 'boolean') out[key] = String(value);
  }
  return out;
}

const hour = 3600_000;
export const ranges: Record<string, { label: string; ms: number; interval: string }> = {
  '1h': { label: 'Last hour', ms: hour, interval: '5m' },
  '24h': { label: 'Last 24 hours', ms: 24 * hour, interval: '1h' },
  '7d': { label: 'Last 7 days', ms: 7 * 24 * hour, interval: '6h' },
  '30d': { label: 'Last 30 days', ms: 30 * 24 * hour, interval: '1d' },
};

/** rangeOptions are the presets as a choice. */
export const rangeOptions = Object.entries(ranges).map(([key, r]): [string, string] => [key, r.label]);

/** given is a change of the address without what is empty in it. */
export const given = <S extends object>(change: S): S => Object.fromEntries(Object.entries(change).map(([k, v]) => [k, v || undefined])) as S;

/** span is the stretch of time a page shows: a preset that ends now, or two moments from the address. */
export function span(
  s: { range?: string; from?: string; to?: string },
  fallback: string | null,
  now: number,
): { from?: string; to?: string } {
  if (s.from || s.to) return { from: s.from, to: s.to };
  const range = ranges[s.range ?? fallback ?? ''];
  if (!range) return {};
  // Rounded to the minute, so that the address asked for does not change with every drawing.
  return { from: new Date(Math.floor((now - range.ms) / 60_000) * 60_000).toISOString() };
}

/** toLocalInput and fromLocalInput translate between the API's UTC and <input type=datetime-local>. */
export function toLocalInput(at: string | undefined): string {
  if (!at) return '';
  const t = new Date(at);
  if (Number.isNaN(t.getTime())) return '';
  return new Date(t.getTime() - t.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export function fromLocalInput(text: string): string | undefined {
  if (!text) return undefined;
  const t = new Date(text);
  return Number.isNaN(t.getTime()) ? undefined : t.toISOString();
}

/** looksLikeNumber says whether a search is for a phone number rather than a name or an id. */
export const looksLikeNumber = (q: string): boolean => /^\+?[\d\s().-]{2,}$/.test(q.trim()) && /\d{2,}/.test(q.replace(/\D/g, ''));

/** digits is a number search as the API wants it: digits with an optional leading plus. */
export const digits = (q: string): string => (q.trim().startsWith('+') ? '+' : '') + q.replace(/\D/g, '');
