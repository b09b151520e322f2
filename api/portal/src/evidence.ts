// From pieces of evidence to their places on the graphs, and from the address of a page to one of them.
import type { Call, Evidence, Verdict } from './api';
import type { Span, View } from './series';

/** Place is a stretch of a call in seconds since its start; a moment where both are the same. */
export interface Place {
  from: number;
  to: number;
}

const seconds = (at: string | null | undefined, origin: number): number | null => {
  if (!at) return null;
  const t = (Date.parse(at) - origin) / 1000;
  return Number.isFinite(t) ? t : null;
};

/** placeOf is when a piece of evidence was so; null where it has no time of its own. */
export function placeOf(e: Pick<Evidence, 'at' | 'until'>, origin: number): Place | null {
  const from = seconds(e.at, origin);
  if (from === null) return null;
  return { from, to: Math.max(from, seconds(e.until, origin) ?? from) };
}

/** zoomOf is the part of the graphs that shows a place with what is around it; null is the whole call. */
export function zoomOf(place: Place, end: number): Place | null {
  const length = place.to - place.from;
  if (length > end * 0.75) return null;
  const around = Math.max(length === 0 ? 10 : 4, length * 0.4);
  const zoom = { from: Math.max(0, place.from - around), to: Math.min(end, place.to + around) };
  return zoom.from <= 0 && zoom.to >= end ? null : zoom;
}

/** graphOf is the id on the page of the graph where evidence is to be seen. */
export function graphOf(e: Evidence): string | null {
  const ids: Record<string, string> = { rtt: 'delay', jitter: 'jitter', jitter_buffer: 'jitter', loss: 'loss', level: 'audio', mos: 'mos', ladder: 'ladder' };
  return ids[e.graph ?? ''] ?? null;
}

/**
 * viewOf is whose graphs show a piece of evidence: what a party's app tells of itself, else the network's reports.
 * The view that is open stays where it has the graph.
 */
export function viewOf(e: Evidence, current: View, has: (view: View, graph: string) => boolean): View {
  const graph = graphOf(e);
  if (!graph || graph === 'ladder') return current;
  const own: View[] = e.side === 'target' || e.side === 'contact' ? [e.side] : [];
  const all: View[] = ['target', 'contact', 'network'];
  return [...(own.length === 0 || own[0] === current || current === 'both' ? [current] : []), ...own, 'network' as View, ...all].find((v) => has(v, graph)) ?? current;
}

/**
 * asked is the evidence that an address speaks of: #evidence-3, the third. Where a later version of the verdict has
 * another sentence there, ?at= (seconds) finds it by its time. -1: none.
 */
export function asked(list: Evidence[], origin: number, hash: string, at: string | undefined): number {
  const number = /^#?evidence-(\d+)$/.exec(hash);
  const index = number ? Number(number[1]) - 1 : -1;
  const time = at === undefined ? Number.NaN : Number(at);
  const near = (e: Evidence | undefined) => {
    const place = e ? placeOf(e, origin) : null;
    return place !== null && Math.abs(place.from - time) < 0.2;
  };
  if (index < 0) return -1;
  if (Number.isNaN(time) || near(list[index])) return index < list.length ? index : -1;
  return list.findIndex(near);
}

/** addressOf is what asked reads. */
export function addressOf(list: Evidence[], index: number, origin: number): { hash: string; at: string | undefined } {
  const place = placeOf(list[index]!, origin);
  return { hash: `evidence-${index + 1}`, at: place ? place.from.toFixed(1) : undefined };
}

const heard = new Set(['never_received', 'stopped', 'not_received', 'not_sent', 'nothing_sent', 'not_acknowledged', 'lost_before']);

/** Told is a piece of evidence with its number, and what contradicts it beside it. */
export interface Told {
  index: number;
  against: number[];
}

/**
 * told keeps the order of the verdict, but puts who says otherwise of a dead direction beside what it contradicts. A
 * contradiction of measures holds both values itself.
 */
export function told(list: Evidence[]): Told[] {
  const out: Told[] = [];
  list.forEach((e, index) => {
    const other =
      e.kind === 'contradiction' && e.values?.confidence_alone !== undefined
        ? out.find((t) => heard.has(list[t.index]!.kind) && list[t.index]!.direction === e.direction)
        : undefined;
    if (other) other.against.push(index);
    else out.push({ index, against: [] });
  });
  return out;
}

/** versus are the values of a contradiction that stand against each other, by name. */
export function versus(e: Evidence): { name: string; followed: number; other: number }[] {
  return Object.entries(e.values ?? {}).flatMap(([name, followed]) => {
    const other = e.values![`${name}_other`];
    return other === undefined ? [] : [{ name, followed, other }];
  });
}

/** spansOf are the stretches that the graphs shade: dead directions, hold, mute, fax, and choppy sound on the jitter graph. */
export function spansOf(call: Call, holds: { from: string; to: string }[], origin: number, end: number): Span[] {
  const v: Verdict | null | undefined = call.verdict;
  const out: Span[] = holds.map((h) => ({ kind: 'hold', from: seconds(h.from, origin) ?? 0, to: seconds(h.to, origin) ?? end, label: 'on hold' }));
  const one = v?.one_way_audio;
  const words = { target_to_contact: 'target not heard', contact_to_target: 'contact not heard', both: 'no audio' } as const;
  if (one?.spans?.length) {
    for (const s of one.spans) {
      out.push({ kind: 'one-way', from: seconds(s.since, origin) ?? 0, to: seconds(s.until, origin) ?? end, label: words[s.direction] + (s.confidence < 0.9 ? '?' : '') });
    }
  } else if (one?.since && one.direction && (one.state === 'confirmed' || one.state === 'suspected')) {
    out.push({ kind: 'one-way', from: seconds(one.since, origin) ?? 0, to: seconds(one.until, origin) ?? end, label: words[one.direction] + (one.state === 'suspected' ? '?' : '') });
  }
  for (const e of v?.evidence ?? []) {
    const place = placeOf(e, origin);
    if (!place) continue;
    const to = e.until ? place.to : end;
    if (e.kind === 'muted') out.push({ kind: 'mute', from: place.from, to, label: 'muted', graphs: ['audio'] });
    if (e.kind === 'silent_payload' || e.kind === 'muted_or_bridge') out.push({ kind: 'mute', from: place.from, to, label: 'silence sent', graphs: ['audio'] });
    if (e.kind === 'fax') out.push({ kind: 'hold', from: place.from, to, label: 'fax (T.38)' });
    if (e.kind === 'transfer') out.push({ kind: 'hold', from: place.from, to, label: 'transfer' });
    if (e.kind === 'jitter' && (e.values?.choppy_share ?? 0) > 0 && e.until) {
      const side = e.direction === 'target_to_contact' ? 'contact' : 'target';
      out.push({ kind: 'choppy', from: place.from, to, label: `choppy at times for the ${side}`, graphs: ['jitter'], side });
    }
  }
  return out;
}
