import type { Band, Call, OneWayAudio } from './api';
import { phone, title, words } from './format';

export interface RTTBand {
  band: Band;
  from: number;
  to: number;
  label: string;
}

/** rttBands are the four bands of round trips, in ms, as the rules of the verdict have them. */
export function rttBands(t: { delay_good_ms: number; delay_acceptable_ms: number; delay_bad_ms: number } | null | undefined): RTTBand[] {
  if (!t) return [];
  const [good, acceptable, bad] = [t.delay_good_ms, t.delay_acceptable_ms, t.delay_bad_ms];
  return [
    { band: 'good', from: 0, to: good, label: `<${good} ms good` },
    { band: 'acceptable', from: good, to: acceptable, label: `${good}–${acceptable} ms acceptable` },
    { band: 'bad', from: acceptable, to: bad, label: `${acceptable}–${bad} ms bad` },
    { band: 'unacceptable', from: bad, to: Infinity, label: `>${bad} ms unacceptable` },
  ];
}

const order: Band[] = ['good', 'acceptable', 'bad', 'unacceptable'];

/** tally counts answered calls by verdict, in the order in which they are shown. */
export function tally(calls: Call[]): { band: Band; count: number }[] {
  const counts = new Map<Band, number>();
  for (const call of calls) {
    if (answer(call) !== 'answered') continue;
    const band = call.verdict?.overall ?? 'unknown';
    counts.set(band, (counts.get(band) ?? 0) + 1);
  }
  return [...order, 'unknown' as Band]
    .map((band) => ({ band, count: counts.get(band) ?? 0 }))
    .filter((entry) => entry.count > 0);
}

/** callStart is where a call's clock stands at 0:00: the answer, else the first message. */
export const callStart = (call: Pick<Call, 'started_at' | 'connected_at'>): string => call.connected_at || call.started_at;

/** shortName names a party in passing. */
export function shortName(side: string | null | undefined, call: Call): string {
  if (side === 'server') return 'the server';
  const party = side === 'target' ? call.target : side === 'contact' ? call.contact : null;
  return party?.name || phone(party?.number) || (side ? `the ${side}` : '');
}

/** answer says what became of a call without audio: nothing that a band could judge. */
export function answer(call: Call): 'answered' | 'ringing' | 'not answered' {
  if (call.connected_at) return 'answered';
  return call.state === 'live' ? 'ringing' : 'not answered';
}

/** headline says in one line what became of a call. */
export function headline(call: Call): string {
  const { verdict } = call;
  if (answer(call) !== 'answered') {
    const reason = call.rejections?.[0]?.reason;
    return reason ? `Rejected: ${words(reason)}` : title(answer(call));
  }
  if (!verdict) return 'No verdict yet';
  const one = verdict.one_way_audio;
  if (one && (one.state === 'confirmed' || one.state === 'suspected')) {
    const what = one.direction === 'both' ? 'no audio' : 'one-way audio';
    return one.state === 'confirmed' ? title(what) : `${title(what)} suspected`;
  }
  const worst = (
    [
      ['delay', verdict.delay?.band],
      ['choppy audio', verdict.jitter?.band],
      ['packet loss', verdict.loss?.band],
    ] as const
  ).filter(([, band]) => band === verdict.overall);
  switch (verdict.overall) {
    case 'good':
      return 'Good call';
    case 'unknown':
      return 'Not enough was observed';
    default: {
      const because = worst.map(([name]) => name).join(', ');
      return `${title(verdict.overall)}${because ? `: ${because}` : ''}`;
    }
  }
}

/** oneWayBand is the colour of one-way audio beside the other dimensions. */
export function oneWayBand(one: OneWayAudio | null | undefined): Band {
  switch (one?.state) {
    case 'none':
      return 'good';
    case 'confirmed':
      return 'unacceptable';
    case 'suspected':
      return 'bad';
    default:
      return 'unknown';
  }
}
