import { describe, expect, it } from 'vitest';
import type { Message } from './api';
import { describe as describeMessage, holds, holdState, lanes, ordered, tone } from './ladder';

const sdp = (direction: string, connection = '10.0.0.5', to = '<sip:b@example.com>') =>
  `INVITE sip:b@example.com SIP/2.0\r\nTo: ${to}\r\nContent-Type: application/sdp\r\n\r\nv=0\r\no=- 1 1 IN IP4 10.0.0.5\r\ns=-\r\nc=IN IP4 ${connection}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n${direction ? `a=${direction}\r\n` : ''}`;

const message = (second: number, more: Partial<Message>): Message => ({
  at: new Date(Date.UTC(2026, 10, 2, 12, 0, second)).toISOString(), src: 'a', dst: 'b', method: 'INVITE', status: 0, raw: '', ...more,
});

describe('holdState', () => {
  it.each([
    ['sendrecv', '10.0.0.5', false], ['', '10.0.0.5', false], ['sendonly', '10.0.0.5', true], ['inactive', '10.0.0.5', true],
    ['recvonly', '10.0.0.5', true], ['', '0.0.0.0', true],
  ])('%s to %s', (direction, address, want) => expect(holdState(sdp(direction, address))).toBe(want));
  it('says nothing without SDP or without audio', () => {
    expect(holdState('BYE sip:b SIP/2.0\r\n\r\n')).toBeNull();
    expect(holdState('INVITE sip:b SIP/2.0\r\n\r\nv=0\r\nm=video 4 RTP/AVP 96\r\na=inactive\r\n')).toBeNull();
  });
  it('ignores the direction of video beside audio', () => {
    expect(holdState(`${sdp('sendrecv')}m=video 4 RTP/AVP 96\r\na=inactive\r\n`)).toBe(false);
  });
});

describe('holds', () => {
  const answered = [message(0, { raw: sdp('sendrecv') }), message(2, { status: 200, raw: sdp('sendrecv') })];
  it('lasts from the re-INVITE that asks for it to the one that ends it', () => {
    const found = holds([...answered, message(12, { raw: sdp('sendonly') }), message(12, { status: 200, raw: sdp('recvonly') }), message(24, { raw: sdp('sendrecv') })], null);
    expect(found.map((h) => [h.from.slice(17, 19), h.to.slice(17, 19)])).toEqual([['12', '24']]);
  });
  it('lasts to the end of the call where nobody resumes', () => {
    expect(holds([...answered, message(12, { raw: sdp('inactive') })], '2026-11-02T12:00:40.000Z')).toEqual([
      { from: '2026-11-02T12:00:12.000Z', to: '2026-11-02T12:00:40.000Z' },
    ]);
  });
  it('does not take early media for a hold', () => {
    expect(holds([message(0, { raw: sdp('recvonly') }), message(1, { status: 183, raw: sdp('sendonly') }), message(2, { status: 200 })], null)).toEqual([]);
  });
});

it('puts messages of the same millisecond in the order of the protocol', () => {
  const m = (method: string, status: number, cseq = 1, second = 0) => message(second, { method, status, cseq, call_id: 'x' });
  const shuffled = [m('BYE', 200, 2), m('INVITE', 487), m('CANCEL', 200), m('ACK', 0), m('INVITE', 180), m('BYE', 0, 2), m('CANCEL', 0), m('INVITE', 0), m('OPTIONS', 0, 9, 1)];
  expect(ordered(shuffled).map((x) => `${x.method} ${x.status}`)).toEqual([
    'INVITE 0', 'INVITE 180', 'CANCEL 0', 'CANCEL 200', 'INVITE 487', 'ACK 0', 'BYE 0', 'BYE 200', 'OPTIONS 0',
  ]);
});

it('keeps lanes in the order in which they spoke', () => {
  expect(lanes([message(0, { src: 'a', dst: 'p' }), message(1, { src: 'p', dst: 'b' }), message(2, { src: 'b', dst: 'p' })])).toEqual(['a', 'p', 'b']);
});

it.each([
  [0, 'request'], [180, 'provisional'], [200, 'success'], [302, 'redirect'], [486, 'failure'], [603, 'failure'],
])('tone of %d', (status, want) => expect(tone(message(0, { status }))).toBe(want));

it('names messages shortly', () => {
  expect(describeMessage(message(0, { status: 486, reason_phrase: 'Busy Here' }))).toBe('486 Busy Here');
  expect(describeMessage(message(0, { raw: sdp('sendonly', '10.0.0.5', '<sip:b@example.com>;tag=x') }))).toBe('INVITE (hold)');
  expect(describeMessage(message(0, { raw: sdp('inactive') })), 'the first offer holds nothing').toBe('INVITE');
  expect(describeMessage(message(0, { method: 'BYE' }))).toBe('BYE');
});
