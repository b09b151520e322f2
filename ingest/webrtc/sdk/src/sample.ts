/** Report is one object of getStats(), with the members that Earshot reads. */
export type Report = Record<string, string | number | boolean>;

/** Stats are the reports of one sample by their ids. */
export type Stats = Record<string, Report>;

const members = new Set(
  (
    'type kind ssrc codecId trackId mediaSourceId remoteSource mimeType clockRate ' +
    'packetsReceived packetsLost packetsDiscarded jitter bytesReceived bytesSent packetsSent ' +
    'jitterBufferDelay jitterBufferTargetDelay jitterBufferEmittedCount concealedSamples silentConcealedSamples totalSamplesReceived ' +
    'totalAudioEnergy totalSamplesDuration audioLevel roundTripTime roundTripTimeMeasurements fractionLost ' +
    'currentRoundTripTime responsesReceived state nominated selected selectedCandidatePairId localCandidateId remoteCandidateId candidateType'
  ).split(' '),
);

const media = /^((remote-)?(in|out)bound-rtp|media-source|track)$/;

/** ofTheOther are reports that tell what the other side said, and when. */
const ofTheOther = /^remote-.*rtp$/;

/** energyDigits keeps what tells a quiet room from silence; a microsecond is enough for the rest. */
const energyDigits = 1e9;
const digits = 1e6;

/**
 * reduce keeps what tells how a call sounds: the audio reports, their codecs and
 * the path in use. at is when they were taken, Unix milliseconds, 0 where the
 * browser counts from something else.
 */
export function reduce(report: Pick<RTCStatsReport, 'forEach' | 'get'>): { stats: Stats; at: number } {
  const stats: Stats = {};
  let at = 0;
  let path: Report | undefined;
  let transport: Report | undefined;

  const keep = (id: unknown) => {
    const from = report.get(id as string) as Report | undefined;
    if (!from || stats[id as string]) return;
    const to: Report = {};
    for (const name in from) {
      const value = from[name]!;
      if (typeof value === 'number') {
        const precision = name === 'totalAudioEnergy' ? energyDigits : digits;
        // Times of the page's own reports are that of the sample.
        if (members.has(name)) to[name] = Math.round(value * precision) / precision;
        else if (name === 'timestamp' && ofTheOther.test(from.type as string)) to[name] = Math.round(value);
      } else if (members.has(name)) to[name] = value;
    }
    stats[id as string] = to;
  };

  report.forEach((s: Report) => {
    if (media.test(s.type as string) && (s.kind ?? s.mediaType) === 'audio') {
      keep(s.id);
      stats[s.id as string]!.kind = 'audio';
      keep(s.codecId);
      if (/^(in|out)/.test(s.type as string)) at = Math.max(at, s.timestamp as number);
    } else if (s.type === 'transport' && s.selectedCandidatePairId && !transport) transport = s;
    else if (s.type === 'candidate-pair' && (s.selected || (s.nominated && s.state === 'succeeded' && !path?.selected))) path = s;
  });
  if (transport) {
    // Its counters are those of the path.
    stats[transport.id as string] = { type: 'transport', selectedCandidatePairId: transport.selectedCandidatePairId! };
    path = report.get(transport.selectedCandidatePairId as string) as Report | undefined;
  }
  if (path) {
    keep(path.id);
    keep(path.localCandidateId);
    keep(path.remoteCandidateId);
  }
  return { stats, at: at > 1e12 ? Math.round(at) : 0 };
}
