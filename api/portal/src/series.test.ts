import { describe, expect, it } from 'vitest';
import type { Sample } from './api';
import { align, defaultView, hasNetwork, isEmpty, legsOf, networkCharts, summarize, webrtcCharts } from './series';

const origin = Date.parse('2026-11-02T12:00:00.000Z');
const sample = (second: number, more: Partial<Sample>): Sample => ({
  at: new Date(origin + second * 1000).toISOString(), leg_id: 'a', side: 'target', source: 'webrtc', direction: 'target_to_contact', ...more,
});

describe('align', () => {
  it('tells a gap (null) from a moment that was not measured (undefined)', () => {
    const chart = align([
      { label: 'a', role: 'forth', points: [[0, 1], [2, null], [4, 3]] },
      { label: 'b', role: 'back', points: [[1, 5], [4, 6]] },
    ]);
    expect(chart.x).toEqual([0, 1, 2, 4]);
    expect(chart.lines[0]!.values).toEqual([1, undefined, null, 3]);
    expect(chart.lines[1]!.values).toEqual([undefined, 5, undefined, 6]);
  });
});

describe('webrtcCharts', () => {
  const samples = [
    // The target's own rows: its microphone on what it sends, what it hears on the other.
    sample(1, { direction: 'target_to_contact', audio_level: 0.2, rtt_ms: 61 }),
    sample(1, { direction: 'contact_to_target', audio_level: 0.1, jitter_buffer_ms: 40, jitter_buffer_preferred_ms: 80, jitter_ms: 1 }),
    sample(2, { direction: 'target_to_contact', audio_level: 0.3, rtt_ms: null }),
    sample(2, { direction: 'contact_to_target', audio_level: null, jitter_buffer_ms: 45, rtt_ms: 62 }),
    // The contact's.
    sample(1, { side: 'contact', leg_id: 'b', direction: 'contact_to_target', audio_level: 0.5 }),
    sample(1, { side: 'contact', leg_id: 'b', direction: 'target_to_contact', audio_level: 0.01, jitter_buffer_ms: 20 }),
    // Somebody else's.
    sample(1, { source: 'rtcp', direction: 'contact_to_target', jitter_ms: 99 }),
  ];
  it('takes in from what the side sends and out from what it hears', () => {
    const { audio } = webrtcCharts(samples, 'target', 'a', origin);
    expect(audio.lines.map((l) => [l.role, l.values])).toEqual([['in', [0.2, 0.3]], ['out', [0.1, null]]]);
    const other = webrtcCharts(samples, 'contact', 'b', origin);
    expect(other.audio.lines.map((l) => [l.role, l.values])).toEqual([['in', [0.5]], ['out', [0.01]]]);
    expect(other.buffer.lines[0]!.values).toEqual([20]);
  });
  it('takes the buffer from what is heard only, and leaves RTCP out', () => {
    const { buffer } = webrtcCharts(samples, 'target', 'a', origin);
    expect(buffer.x).toEqual([1, 2]);
    expect(buffer.lines.map((l) => [l.label, l.values])).toEqual([
      ['Current', [40, 45]], ['Preferred', [80, null]], ['Network jitter', [1, null]],
    ]);
  });
  it('takes the round trip from whichever row has it', () => {
    expect(webrtcCharts(samples, 'target', 'a', origin).rtt.lines[0]!.values).toEqual([61, 62]);
  });
  it('does not mix legs', () => {
    expect(isEmpty(webrtcCharts(samples, 'target', 'z', origin).audio)).toBe(true);
    expect(legsOf([...samples, sample(3, { leg_id: 'second' })], 'target')).toEqual(['a', 'second']);
  });
});

describe('networkCharts', () => {
  it('draws a line per direction and witness', () => {
    const { jitter, loss, rtt } = networkCharts(
      [
        sample(5, { source: 'rtcp', side: 'contact', direction: 'target_to_contact', jitter_ms: 12, loss_percent: 4 }),
        sample(6, { source: 'rtcp', side: 'target', direction: 'contact_to_target', jitter_ms: 3, loss_percent: 0 }),
        sample(6, { source: 'rtp', side: 'server', direction: 'target_to_contact', jitter_ms: 11 }),
        sample(7, { source: 'webrtc', jitter_ms: 50 }),
      ],
      origin,
    );
    expect(jitter.lines.map((l) => [l.label, l.role])).toEqual([
      ['Target → contact (RTP, server)', 'forth'], ['Target → contact (RTCP, contact)', 'forth2'], ['Contact → target (RTCP, target)', 'back'],
    ]);
    expect(jitter.x).toEqual([5, 6]);
    expect(loss.lines.map((l) => l.values)).toEqual([[4, undefined], [undefined, 0]]);
    expect(isEmpty(rtt)).toBe(true);
  });
});

describe('the view shown first', () => {
  const rtcp = sample(1, { source: 'rtcp' });
  const contact = sample(1, { side: 'contact' });
  it.each([
    [[sample(1, {}), contact, rtcp], 'target'], [[contact, rtcp], 'contact'], [[rtcp], 'network'], [[], 'target'],
  ])('%#', (samples, want) => expect(defaultView(samples)).toBe(want));
  it('knows whether the network reported', () => {
    expect(hasNetwork([contact])).toBe(false);
    expect(hasNetwork([rtcp])).toBe(true);
  });
});

it('puts a graph into words', () => {
  const chart = align([{ label: 'RTT', role: 'current', points: [[0, 61], [1, 340], [2, 62]] }, { label: 'None', role: 'network', points: [[0, null]] }]);
  expect(summarize(chart, 'ms')).toBe('RTT: median 62.0 ms, lowest 61.0 ms, highest 340.0 ms; None: no values');
});
