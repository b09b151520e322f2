// From the rows of samples to the columns that the graphs draw.
import type { Sample, Side } from './api';

/** A view is what the graphs show: one side's WebRTC statistics, those of both side by side, or what the network's reports say. */
export type View = 'target' | 'contact' | 'both' | 'network';

/** Column is one line of a graph: undefined = not measured at that time, null = measured and absent (a gap). */
export type Column = (number | null | undefined)[];

export interface Chart {
  /** Seconds since the start of the call. */
  x: number[];
  lines: { label: string; role: Role; values: Column; why?: string }[];
}

/** Role decides a line's colour and weight. */
export type Role = 'current' | 'preferred' | 'network' | 'in' | 'out' | 'forth' | 'back' | 'forth2' | 'back2';

interface Line {
  label: string;
  role: Role;
  points: [number, number | null][];
  /** why is the source and column that explains the line's values. */
  why?: string;
}

/** align puts lines that were measured at different times on one axis. */
export function align(lines: Line[]): Chart {
  const times = new Set<number>();
  for (const line of lines) for (const [t] of line.points) times.add(t);
  const x = [...times].sort((a, b) => a - b);
  const at = new Map(x.map((t, i) => [t, i]));
  return {
    x,
    lines: lines.map(({ label, role, points, why }) => {
      const values: Column = Array.from({ length: x.length });
      for (const [t, v] of points) values[at.get(t)!] = v;
      return why ? { label, role, values, why } : { label, role, values };
    }),
  };
}

const isWebRTC = (s: Sample) => s.source === 'webrtc';

/** sidesWithWebRTC are the parties whose app reported its own statistics. */
export function sidesWithWebRTC(samples: Sample[]): Set<Side> {
  return new Set(samples.filter(isWebRTC).map((s) => s.side));
}

export const hasNetwork = (samples: Sample[]): boolean => samples.some((s) => !isWebRTC(s));

/** defaultView prefers the target's app, then the contact's, then the network. */
export function defaultView(samples: Sample[]): View {
  const sides = sidesWithWebRTC(samples);
  return sides.has('target') ? 'target' : sides.has('contact') ? 'contact' : hasNetwork(samples) ? 'network' : 'target';
}

/** legsOf lists a side's legs, the one with the most samples first. */
export function legsOf(samples: Sample[], side: Side): string[] {
  const n = new Map<string, number>();
  for (const s of samples) if (isWebRTC(s) && s.side === side) n.set(s.leg_id, (n.get(s.leg_id) ?? 0) + 1);
  return [...n].sort((a, b) => b[1] - a[1] || a[0].localeCompare(b[0])).map(([leg]) => leg);
}

function points(samples: Sample[], origin: number, value: (s: Sample) => number | null | undefined): [number, number | null][] {
  const out: [number, number | null][] = [];
  for (const s of samples) {
    const t = Math.round(Date.parse(s.at) - origin) / 1000;
    if (!Number.isFinite(t)) continue;
    out.push([t, value(s) ?? null]);
  }
  return out;
}

const some = (p: [number, number | null][]) => p.some(([, v]) => v !== null);

export interface WebRTCCharts {
  buffer: Chart;
  rtt: Chart;
  audio: Chart;
  loss: Chart;
  mos: Chart;
}

/**
 * webrtcCharts are the graphs of one side's app: its jitter buffer, its round trips, the levels of its microphone (in)
 * and of what it played (out), and of what it heard the loss, the concealment and the score.
 */
export function webrtcCharts(samples: Sample[], side: 'target' | 'contact', leg: string | undefined, origin: number): WebRTCCharts {
  const own = samples.filter((s) => isWebRTC(s) && s.side === side && (leg === undefined || s.leg_id === leg));
  const outgoing = side === 'target' ? 'target_to_contact' : 'contact_to_target';
  const sent = own.filter((s) => s.direction === outgoing);
  const heard = own.filter((s) => s.direction !== outgoing);
  const rtt = new Map<number, number | null>();
  for (const [t, v] of points(own, origin, (s) => s.rtt_ms)) {
    // Both directions' rows may carry the round trip; a value wins over its absence.
    if (v !== null || !rtt.has(t)) rtt.set(t, v);
  }
  const jitter = points(heard, origin, (s) => s.jitter_ms);
  return {
    buffer: align([
      { label: 'Current', role: 'current', points: points(heard, origin, (s) => s.jitter_buffer_ms), why: 'webrtc.jitter_buffer_ms' },
      { label: 'Preferred', role: 'preferred', points: points(heard, origin, (s) => s.jitter_buffer_preferred_ms), why: 'webrtc.jitter_buffer_preferred_ms' },
      ...(some(jitter) ? [{ label: 'Network jitter', role: 'network' as const, points: jitter, why: 'webrtc.jitter_ms' }] : []),
    ]),
    rtt: align([{ label: 'Round trip', role: 'current', points: [...rtt], why: 'webrtc.rtt_ms' }]),
    audio: align([
      { label: 'In: microphone', role: 'in', points: points(sent, origin, (s) => s.audio_level), why: 'webrtc.audio_level' },
      { label: 'Out: what is heard', role: 'out', points: points(heard, origin, (s) => s.audio_level), why: 'webrtc.audio_level' },
    ]),
    loss: align([
      { label: 'Packets lost', role: 'current', points: points(heard, origin, (s) => s.loss_percent), why: 'webrtc.loss_percent' },
      { label: 'Sound concealed', role: 'preferred', points: points(heard, origin, (s) => s.concealment_percent), why: 'webrtc.concealment_percent' },
    ]),
    mos: align([{ label: 'MOS of what is heard', role: 'current', points: points(heard, origin, (s) => s.mos), why: 'webrtc.mos' }]),
  };
}

export interface NetworkCharts {
  jitter: Chart;
  rtt: Chart;
  loss: Chart;
  mos: Chart;
}

const sourceNames: Record<string, string> = {
  rtcp: 'RTCP', rtcp_xr: 'RTCP XR', rtp: 'RTP', vq_rtcpxr: 'SIP report', sip: 'BYE',
};

/** networkCharts are jitter, round trip and loss per direction, from everything that is not WebRTC. */
export function networkCharts(samples: Sample[], origin: number): NetworkCharts {
  const rows = samples.filter((s) => !isWebRTC(s));
  const lines = (column: 'jitter_ms' | 'rtt_ms' | 'loss_percent' | 'mos'): Line[] => {
    const value = (s: Sample) => s[column];
    const groups = new Map<string, Sample[]>();
    for (const s of rows) {
      if (value(s) === null || value(s) === undefined) continue;
      const key = `${s.direction}|${s.source}|${s.side}`;
      groups.set(key, [...(groups.get(key) ?? []), s]);
    }
    const used = { forth: 0, back: 0 };
    return [...groups]
      .sort(([a], [b]) => b.localeCompare(a))
      .map(([key, group]) => {
        const [direction, source, side] = key.split('|') as [string, string, string];
        const forth = direction === 'target_to_contact';
        const n = forth ? used.forth++ : used.back++;
        const arrow = forth ? 'Target → contact' : 'Contact → target';
        const role: Role = forth ? (n === 0 ? 'forth' : 'forth2') : n === 0 ? 'back' : 'back2';
        const by = side === 'server' ? 'server' : side;
        return { label: `${arrow} (${sourceNames[source] ?? source}, ${by})`, role, points: points(group, origin, value), why: `${source}.${column}` };
      });
  };
  return {
    jitter: align(lines('jitter_ms')),
    rtt: align(lines('rtt_ms')),
    loss: align(lines('loss_percent')),
    mos: align(lines('mos')),
  };
}

/** Span is a shaded stretch of a graph, in seconds since the start of the call. */
export interface Span {
  kind: 'one-way' | 'hold' | 'mute' | 'choppy';
  from: number;
  to: number;
  label: string;
  /** graphs that it is drawn on, by id; all where absent. */
  graphs?: string[];
  /** side whose own graphs it is drawn on; both where absent. */
  side?: 'target' | 'contact';
}

/** summarize puts a chart into words for those who cannot see it. */
export function summarize(chart: Chart, unit: string): string {
  const parts: string[] = [];
  for (const { label, values } of chart.lines) {
    const known = values.filter((v): v is number => typeof v === 'number').sort((a, b) => a - b);
    if (known.length === 0) {
      parts.push(`${label}: no values`);
      continue;
    }
    const pick = (p: number) => known[Math.min(known.length - 1, Math.floor(p * known.length))]!;
    const f = (v: number) => (unit === '' ? v.toFixed(3) : v.toFixed(1)) + (unit && ` ${unit}`);
    parts.push(`${label}: median ${f(pick(0.5))}, lowest ${f(known[0]!)}, highest ${f(known[known.length - 1]!)}`);
  }
  return parts.join('; ');
}

export const isEmpty = (chart: Chart): boolean => !chart.lines.some((l) => l.values.some((v) => typeof v === 'number'));
