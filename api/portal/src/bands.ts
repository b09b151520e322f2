import type { Band, Call, OneWayAudio } from './api';
import { offset, phone, secondsBetween, title, words } from './format';

/** rttBands are the four bands of round trips, in ms, with what they mean to the people talking. */
export const rttBands: { band: Band; from: number; to: number; label: string }[] = [
  { band: 'good', from: 0, to: 100, label: '<100 ms good' },
  { band: 'acceptable', from: 100, to: 200, label: '100–200 ms acceptable' },
  { band: 'bad', from: 200, to: 300, label: '200–300 ms bad' },
  { band: 'unacceptable', from: 300, to: Infinity, label: '>300 ms unacceptable' },
];

/** rttBand is [0,100) good, [100,200) acceptable, [200,300] bad, above that unacceptable. */
export function rttBand(ms: number | null | undefined): Band {
  if (ms === null || ms === undefined || !Number.isFinite(ms)) return 'unknown';
  if (ms < 100) return 'good';
  if (ms < 200) return 'acceptable';
  return ms <= 300 ? 'bad' : 'unacceptable';
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

function partyName(number: string | null | undefined, call: Call): string {
  for (const party of [call.target, call.contact]) {
    if (number && party.number === number) return party.name ? `${phone(number)} (${party.name})` : phone(number);
  }
  return number ? phone(number) : '';
}

/** sideName names a party of the call in a sentence. */
export function sideName(side: string | null | undefined, call: Call): string {
  const party = side === 'target' ? call.target : side === 'contact' ? call.contact : null;
  if (!party) return side ?? '';
  return partyName(party.number, call) || party.name || `the ${side}`;
}

/** shortName names a party in passing. */
export function shortName(side: string | null | undefined, call: Call): string {
  if (side === 'server') return 'the server';
  const party = side === 'target' ? call.target : side === 'contact' ? call.contact : null;
  return party?.name || phone(party?.number) || (side ? `the ${side}` : '');
}

/** oneWaySentence says in words who cannot be heard by whom, since when, and how sure that is. */
export function oneWaySentence(one: OneWayAudio | null | undefined, call: Call): string {
  if (!call.connected_at) return call.state === 'live' ? 'The call has not been answered yet.' : 'The call was not answered: there is no audio to judge.';
  if (!one || one.state === 'unknown') return 'One-way audio could not be judged: a direction was not observed long enough.';
  if (one.state === 'none') return 'Both sides could be heard.';
  const since = secondsBetween(callStart(call), one.since);
  const when = since === null ? '' : since < 1 ? ' from the start' : ` since ${offset(since)}`;
  const sure = one.confidence ? ` (${Math.round(one.confidence * 100)} % sure)` : '';
  const probably = one.state === 'suspected';
  if (one.direction === 'both') {
    return `Neither side ${probably ? 'can probably' : 'can'} hear the other${when}${sure}.`;
  }
  const fromSide = one.direction === 'contact_to_target' ? 'contact' : 'target';
  const from = partyName(one.from, call) || sideName(fromSide, call);
  const to = partyName(one.to, call) || sideName(fromSide === 'target' ? 'contact' : 'target', call);
  return `${from} ${probably ? 'can probably not' : 'cannot'} be heard by ${to}${when}${sure}.`;
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
