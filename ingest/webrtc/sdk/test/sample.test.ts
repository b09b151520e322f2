import { expect, test } from 'vitest';
import { reduce } from '../src/sample';

const report = (...stats: Record<string, unknown>[]) => new Map(stats.map((s) => [s.id as string, s])) as unknown as RTCStatsReport;

test('only what tells how the call sounds is kept', () => {
  const { stats, at } = reduce(
    report(
      { id: 'I', type: 'inbound-rtp', kind: 'audio', timestamp: 1772359200250.5, ssrc: 11, codecId: 'C', packetsReceived: 100, jitter: 0.0041234567, totalAudioEnergy: 0.1234567891234, headerBytesReceived: 5, trackIdentifier: 'x' },
      { id: 'V', type: 'inbound-rtp', kind: 'video', timestamp: 1772359209999, packetsReceived: 1, codecId: 'CV' },
      { id: 'O', type: 'outbound-rtp', mediaType: 'audio', timestamp: 1772359200250.4, packetsSent: 7, mediaSourceId: 'S' },
      { id: 'S', type: 'media-source', kind: 'audio', audioLevel: 0.25 },
      { id: 'R', type: 'remote-inbound-rtp', kind: 'audio', timestamp: 1772359198000.7, roundTripTime: 0.041 },
      { id: 'C', type: 'codec', mimeType: 'audio/opus', clockRate: 48000, sdpFmtpLine: 'minptime=10' },
      { id: 'CV', type: 'codec', mimeType: 'video/VP8' },
      { id: 'P0', type: 'candidate-pair', nominated: true, state: 'succeeded' },
      { id: 'P', type: 'candidate-pair', state: 'succeeded', localCandidateId: 'L', remoteCandidateId: 'M', currentRoundTripTime: 0.039 },
      { id: 'L', type: 'local-candidate', candidateType: 'host', address: '192.0.2.1' },
      { id: 'M', type: 'remote-candidate', candidateType: 'relay', ip: '192.0.2.2', timestamp: 1772359198000 },
      { id: 'T', type: 'transport', selectedCandidatePairId: 'P', dtlsState: 'connected', bytesSent: 5 },
    ),
  );
  expect(at).toBe(1772359200251);
  expect(stats).toEqual({
    I: { type: 'inbound-rtp', kind: 'audio', ssrc: 11, codecId: 'C', packetsReceived: 100, jitter: 0.004123, totalAudioEnergy: 0.123456789 },
    O: { type: 'outbound-rtp', kind: 'audio', packetsSent: 7, mediaSourceId: 'S' },
    S: { type: 'media-source', kind: 'audio', audioLevel: 0.25 },
    R: { type: 'remote-inbound-rtp', kind: 'audio', timestamp: 1772359198001, roundTripTime: 0.041 },
    C: { type: 'codec', mimeType: 'audio/opus', clockRate: 48000 },
    P: { type: 'candidate-pair', state: 'succeeded', localCandidateId: 'L', remoteCandidateId: 'M', currentRoundTripTime: 0.039 },
    L: { type: 'local-candidate', candidateType: 'host' },
    M: { type: 'remote-candidate', candidateType: 'relay' },
    T: { type: 'transport', selectedCandidatePairId: 'P' },
  });
});

test('Firefox marks its path, Safari counted from the load of the page', () => {
  const { stats, at } = reduce(
    report(
      { id: 'I', type: 'inbound-rtp', kind: 'audio', timestamp: 12345.6 },
      { id: 'A', type: 'candidate-pair', selected: true, state: 'succeeded' },
      { id: 'B', type: 'candidate-pair', nominated: true, state: 'succeeded' },
    ),
  );
  expect(at).toBe(0);
  expect(Object.keys(stats)).toEqual(['I', 'A']);
});

test('a report of nothing is nothing', () => {
  expect(reduce(report())).toEqual({ stats: {}, at: 0 });
});
