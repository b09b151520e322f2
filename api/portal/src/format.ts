// How times, durations, numbers and measurements are written.

/** offset writes a position in a call: 6 s → "0:06", 3725 s → "1:02:05". */
export function offset(seconds: number): string {
  const sign = seconds < 0 ? '−' : '';
  const whole = Math.floor(Math.abs(seconds) + 1e-6);
  const s = String(whole % 60).padStart(2, '0');
  const m = Math.floor(whole / 60) % 60;
  const h = Math.floor(whole / 3600);
  return h > 0 ? `${sign}${h}:${String(m).padStart(2, '0')}:${s}` : `${sign}${m}:${s}`;
}

/** second is the offset to the nearest second, for what was measured once a second or so. */
export const second = (seconds: number): string => offset(Math.round(seconds));

/** duration writes a length in words short enough for a table. */
export function duration(ms: number | null | undefined): string {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return '–';
  if (ms > 0 && ms < 1000) return `${Math.round(ms)} ms`;
  const total = Math.round(ms / 1000);
  const h = Math.floor(total / 3600);
  const m = Math.floor(total / 60) % 60;
  const s = total % 60;
  if (h > 0) return `${h} h ${m} min`;
  if (m > 0) return `${m} min ${s} s`;
  return `${s} s`;
}

/** secondsBetween is b − a; null where a time is missing or unreadable. */
export function secondsBetween(a: string | null | undefined, b: string | null | undefined): number | null {
  if (!a || !b) return null;
  const d = (Date.parse(b) - Date.parse(a)) / 1000;
  return Number.isFinite(d) ? d : null;
}

/** phone groups North American numbers; others stay E.164, which every country can read. */
export function phone(number: string | null | undefined): string {
  if (!number) return '';
  const na = /^\+1(\d{3})(\d{3})(\d{4})$/.exec(number);
  return na ? `+1 ${na[1]} ${na[2]} ${na[3]}` : number;
}

/** quantity writes a measurement with as many digits as it deserves. */
export function quantity(value: number | null | undefined, unit = ''): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return '–';
  const size = Math.abs(value);
  const digits = size >= 100 || Number.isInteger(value) ? 0 : size >= 10 ? 1 : 2;
  const text = value.toLocaleString('en', { minimumFractionDigits: 0, maximumFractionDigits: digits });
  return unit ? `${text}\u202f${unit}` : text;
}

export const count = (n: number | null | undefined): string =>
  n === null || n === undefined ? '–' : n.toLocaleString('en');

const names: Record<string, string> = {
  native: 'native',
  packaged_app: 'packaged_app',
  desk_phone: 'desk phone',
  rtcp_xr: 'RTCP XR',
  vq_rtcpxr: 'SIP quality report',
  rtcp: 'RTCP',
  rtp: 'RTP headers',
  webrtc: 'WebRTC',
  sip: 'SIP',
  on_a_call: 'On a call',
};

/** words turns an id of the API into something a person reads. */
export function words(id: string | null | undefined): string {
  if (!id) return '';
  return names[id] ?? id.replaceAll('_', ' ');
}

/** title is words with a capital first letter. */
export function title(id: string | null | undefined): string {
  const w = words(id);
  return w.charAt(0).toUpperCase() + w.slice(1);
}

const absolute = new Intl.DateTimeFormat(undefined, {
  year: 'numeric', month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23',
});
const sameYear = new Intl.DateTimeFormat(undefined, {
  month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23',
});
const sameDay = new Intl.DateTimeFormat(undefined, {
  hour: '2-digit', minute: '2-digit', second: '2-digit', hourCycle: 'h23',
});

/** localTime writes a moment in the viewer's zone, leaving out what is the same as now. */
export function localTime(at: string, now: Date = new Date()): string {
  const t = new Date(at);
  if (Number.isNaN(t.getTime())) return at;
  if (t.toDateString() === now.toDateString()) return sameDay.format(t);
  return (t.getFullYear() === now.getFullYear() ? sameYear : absolute).format(t);
}

export const fullLocalTime = (at: string): string => {
  const t = new Date(at);
  return Number.isNaN(t.getTime()) ? at : absolute.format(t);
};

/** utc writes a moment as "2026-11-02 12:27:35.000 UTC". */
export function utc(at: string): string {
  const t = new Date(at);
  return Number.isNaN(t.getTime()) ? at : t.toISOString().replace('T', ' ').replace('Z', ' UTC');
}

export const timeZone = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone || 'UTC';

/** ago says how long before now a moment was, coarsely. */
export function ago(at: string, now: number = Date.now()): string {
  const s = Math.round((now - Date.parse(at)) / 1000);
  if (!Number.isFinite(s)) return '';
  const future = s < 0;
  const a = Math.abs(s);
  const text =
    a < 60 ? `${a} s` : a < 3600 ? `${Math.round(a / 60)} min` : a < 172800 ? `${Math.round(a / 3600)} h` : `${Math.round(a / 86400)} days`;
  return future ? `in ${text}` : `${text} ago`;
}
