// Which parts the way of a call's audio has, and on which of them the fault lies.
import type { Call, PathSegment, Verdict } from './api';

export interface Part {
  segment: PathSegment;
  /** paths of the figures in the call's JSON. */
  paths: { p50: string; p95: string; jitterForth: string; jitterBack: string; lossForth: string; lossBack: string };
  fault: boolean;
  deadForth: boolean;
  deadBack: boolean;
}

const severity = { unknown: -1, good: 0, acceptable: 1, bad: 2, unacceptable: 3 } as const;

/** faulty is the part that the fault lies on; -1 where it is not known or none of the parts. */
function faulty(v: Verdict, segments: PathSegment[]): number {
  // Of a server's legs one is at fault where it is bad; else the party itself is, who sends nothing.
  const beside = (i: number) => (segments[i]!.source === 'capture_point' || severity[segments[i]!.band] >= severity.bad ? i : -1);
  switch (v.fault_side) {
    case 'target':
      return beside(0);
    case 'contact':
      return beside(segments.length - 1);
    case 'network': {
      // One part of several only where it alone is bad: of what was not measured apart nobody knows.
      const worst = Math.max(...segments.map((s) => severity[s.band]));
      const at = segments.flatMap((s, i) => (severity[s.band] === worst ? [i] : []));
      return worst >= severity.bad && at.length === 1 ? at[0]! : -1;
    }
    default:
      return -1;
  }
}

/** partsOf are the parts that were measured apart, else the whole way as one. */
export function partsOf(call: Call): Part[] {
  const v = call.verdict;
  if (!v || !call.connected_at) return [];
  const one = v.one_way_audio;
  const dead = one?.state === 'confirmed' || one?.state === 'suspected' ? one.direction : null;
  const forth = dead === 'target_to_contact' || dead === 'both';
  const back = dead === 'contact_to_target' || dead === 'both';
  if (v.segments?.length) {
    const fault = faulty(v, v.segments);
    return v.segments.map((segment, i) => {
      const at = `verdict.segments[${i}]`;
      return {
        segment,
        paths: {
          p50: `${at}.rtt_ms.p50`, p95: `${at}.rtt_ms.p95`,
          jitterForth: `${at}.target_to_contact_jitter_ms`, jitterBack: `${at}.contact_to_target_jitter_ms`,
          lossForth: `${at}.target_to_contact_loss_percent`, lossBack: `${at}.contact_to_target_loss_percent`,
        },
        fault: i === fault,
        // Where it died is known only where the fault is.
        deadForth: forth && i === fault,
        deadBack: back && i === fault,
      };
    });
  }
  const j = v.jitter;
  const l = v.loss;
  return [
    {
      segment: {
        from: 'target', to: 'contact', rtt_ms: v.delay?.rtt_ms, band: 'unknown', source: '',
        target_to_contact_jitter_ms: j?.target_to_contact_ms?.p95, contact_to_target_jitter_ms: j?.contact_to_target_ms?.p95,
        target_to_contact_loss_percent: l?.target_to_contact_percent, contact_to_target_loss_percent: l?.contact_to_target_percent,
      },
      paths: {
        p50: 'verdict.delay.rtt_ms.p50', p95: 'verdict.delay.rtt_ms.p95',
        jitterForth: 'verdict.jitter.target_to_contact_ms.p95', jitterBack: 'verdict.jitter.contact_to_target_ms.p95',
        lossForth: 'verdict.loss.target_to_contact_percent', lossBack: 'verdict.loss.contact_to_target_percent',
      },
      fault: v.fault_side === 'network',
      deadForth: forth,
      deadBack: back,
    },
  ];
}
