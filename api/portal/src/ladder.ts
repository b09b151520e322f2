// The SIP ladder: who stands where, which arrow goes from whom to whom, and when a call was on hold.
import type { Message } from './api';

/** lanes are the addresses of the ladder in the order in which they first spoke. */
export function lanes(messages: Message[]): string[] {
  const seen: string[] = [];
  for (const m of messages) for (const address of [m.src, m.dst]) if (address && !seen.includes(address)) seen.push(address);
  return seen;
}

// Where a message stands among those of its transaction.
function step(m: Message): number {
  if (m.status === 0) return m.method === 'ACK' ? 9 : m.method === 'CANCEL' ? 3 : 0;
  if (m.method === 'CANCEL') return 4;
  return m.status < 200 ? 1 : 6;
}

/**
 * ordered sorts messages by time. Those of the same millisecond, whose order the capture may have lost, stand as the
 * protocol demands: a request before its responses, the ACK after them.
 */
export function ordered(messages: Message[]): Message[] {
  return [...messages].sort(
    (a, b) => Date.parse(a.at) - Date.parse(b.at) || (a.call_id === b.call_id ? (a.cseq ?? 0) - (b.cseq ?? 0) || step(a) - step(b) : 0),
  );
}

/** describe is the short text on an arrow. */
export function describe(m: Message): string {
  if (m.status > 0) return `${m.status} ${m.reason_phrase || ''}`.trim();
  const inDialog = /^(?:to|t)[ \t]*:.*;[ \t]*tag=/im.test(m.raw);
  return m.method + (m.method === 'INVITE' && inDialog && holdState(m.raw) === true ? ' (hold)' : '');
}

/** tone groups messages for colouring. */
export function tone(m: Message): 'request' | 'provisional' | 'success' | 'redirect' | 'failure' {
  if (m.status === 0) return 'request';
  if (m.status < 200) return 'provisional';
  if (m.status < 300) return 'success';
  return m.status < 400 ? 'redirect' : 'failure';
}

/**
 * holdState reads the audio direction of a message's SDP (RFC 3264 §8.4): true on hold, false
 * when media flows both ways, null when the message carries no SDP with audio.
 */
export function holdState(raw: string): boolean | null {
  const body = raw.split(/\r?\n\r?\n/).slice(1).join('\n');
  if (!/^v=0/m.test(body)) return null;
  let section = 'session';
  let direction = '';
  let address = '';
  let audio = false;
  for (const line of body.split(/\r?\n/)) {
    if (line.startsWith('m=')) {
      if (audio) break;
      section = line.startsWith('m=audio') ? 'audio' : 'other';
      audio = audio || section === 'audio';
    } else if (section !== 'other') {
      const found = /^a=(sendrecv|sendonly|recvonly|inactive)\s*$/.exec(line);
      if (found) direction = found[1]!;
      const c = /^c=IN IP[46] (\S+)/.exec(line);
      if (c) address = c[1]!;
    }
  }
  if (!audio) return null;
  return (direction !== '' && direction !== 'sendrecv') || address === '0.0.0.0';
}

/** holds finds the stretches on hold: from a re-INVITE or UPDATE that asks for it to the one that ends it. */
export function holds(messages: Message[], end: string | null | undefined): { from: string; to: string }[] {
  const out: { from: string; to: string }[] = [];
  let since: string | null = null;
  let answered = false;
  for (const m of messages) {
    if (m.status >= 200 && m.status < 300 && m.method === 'INVITE') answered = true;
    // The first INVITE may offer recvonly early media; only what comes after the answer is a hold.
    if (!answered || m.status !== 0 || (m.method !== 'INVITE' && m.method !== 'UPDATE')) continue;
    const state = holdState(m.raw);
    if (state === true && since === null) since = m.at;
    if (state === false && since !== null) {
      out.push({ from: since, to: m.at });
      since = null;
    }
  }
  if (since !== null) out.push({ from: since, to: end || messages[messages.length - 1]!.at });
  return out;
}
