// One end of a call: what phone.mjs has the page do.
const call = { pc: null, sender: null, polls: [], timer: 0, said: {} };

// Connection is made anew for each call, and again when the page's user comes back.
// codecs: names in order of preference; receiveOnly: there is no microphone by design;
// feedback: with header extensions and the congestion feedback that goes with them.
window.open = async ({ codecs, dtx = false, receiveOnly = false, feedback = false }) => {
  Object.assign(call, { dtx, feedback, muted: undefined });
  const pc = (call.pc = new RTCPeerConnection());
  pc.addEventListener('track', (e) => {
    // Nothing is decoded for a track that nobody listens to.
    const sound = (window.sound = new Audio());
    sound.srcObject = new MediaStream([e.track]);
    sound.play();
  });
  pc.addEventListener('connectionstatechange', () => window.tell?.('connection', pc.connectionState));
  let transceiver;
  if (receiveOnly) {
    transceiver = pc.addTransceiver('audio', { direction: 'recvonly' });
  } else {
    const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
    call.track = microphone.getAudioTracks()[0];
    transceiver = pc.addTransceiver(call.track, { direction: 'sendrecv', streams: [microphone] });
  }
  call.transceiver = transceiver;
  call.codecs = codecs;
  prefer(transceiver);
};

// Only what is wanted is offered: an INVITE must fit into one UDP packet.
function prefer(transceiver) {
  const all = RTCRtpReceiver.getCapabilities('audio').codecs;
  const of = (name) => all.filter((c) => c.mimeType.toLowerCase() === `audio/${name.toLowerCase()}`);
  const media = call.codecs.flatMap(of);
  const rate = media[0].clockRate;
  transceiver.setCodecPreferences([...media, ...of('telephone-event').filter((c) => c.clockRate === rate)]);
}

// A description as it is sent: when all candidates are known (after a restart of ICE a browser still says `complete` of the ones
// before, and what goes out is what trickling sends: c=0.0.0.0, port 9), without what a phone behind a gateway would not ask for.
async function gathered() {
  const { pc } = call;
  while (pc.iceGatheringState !== 'complete') await new Promise((then) => setTimeout(then, 10));
  const left = [/^a=candidate:\S+ \d+ tcp .*\r\n/gim, /^a=ssrc:\d+ msid:.*\r\n/gim];
  if (!call.feedback) left.push(/^a=extmap.*\r\n/gim, /^a=rtcp-fb:.*\r\n/gim);
  return left.reduce((sdp, line) => sdp.replace(line, ''), pc.localDescription.sdp);
}
// With DTX each end asks the other to use it (RFC 7587, usedtx).
const asked = (sdp) => (call.dtx ? sdp.replace(/^(a=fmtp:\d+ minptime.*)$/gim, (line) => line.replace(/;usedtx=1/, '') + ';usedtx=1') : sdp);

window.offer = async (options = {}) => {
  const offer = await call.pc.createOffer(options);
  await call.pc.setLocalDescription({ type: 'offer', sdp: asked(offer.sdp) });
  return gathered();
};
window.answer = async (sdp) => {
  await call.pc.setRemoteDescription({ type: 'offer', sdp });
  // The offer brings a transceiver of its own, which takes over from the one made at the start.
  const used = call.pc.getTransceivers().find((t) => t.mid !== null) ?? call.transceiver;
  if (used !== call.transceiver) {
    await used.sender.replaceTrack(call.transceiver.sender.track);
    used.direction = call.transceiver.direction;
    prefer(used);
    call.transceiver.stop(); // or the next offer would have it too
    call.transceiver = used;
  }
  const answer = await call.pc.createAnswer();
  await call.pc.setLocalDescription({ type: 'answer', sdp: asked(answer.sdp) });
  return gathered();
};
// Waits until the media's way is there: ICE, and DTLS where it is used.
window.connected = async () => {
  const { pc } = call;
  const encrypted = pc.localDescription.sdp.includes('a=fingerprint');
  const there = () => (encrypted ? pc.connectionState === 'connected' : ['connected', 'completed'].includes(pc.iceConnectionState));
  for (let waited = 0; !there(); waited += 50) {
    if (waited > 15000) throw new Error(`ICE is ${pc.iceConnectionState}, the connection ${pc.connectionState}`);
    await new Promise((then) => setTimeout(then, 50));
  }
};
window.accept = (sdp) => call.pc.setRemoteDescription({ type: 'answer', sdp });

// What a user does. The platform learns of a mute only if it is told.
window.mute = (on, told) => {
  call.track.enabled = !on;
  if (told) call.muted = on;
};
window.unplug = () => call.transceiver.sender.replaceTrack(null);
window.plug = () => call.transceiver.sender.replaceTrack(call.track);
window.direction = (direction) => (call.transceiver.direction = direction);
window.hangup = () => {
  window.poll(false);
  call.pc.close();
};

const media = new Set(['inbound-rtp', 'outbound-rtp', 'remote-inbound-rtp', 'remote-outbound-rtp', 'media-source']);
// What a report says of the media and of the way in use; certificates, other candidates and codecs that nobody uses are left out.
function kept(report) {
  const out = {};
  const keep = (id) => {
    const s = id && report.get(id);
    if (s) out[id] = s;
    return s;
  };
  report.forEach((s) => {
    if (media.has(s.type)) {
      keep(s.id);
      keep(s.codecId);
    }
    if (s.type === 'transport') {
      const { localCertificateId, remoteCertificateId, ...rest } = s;
      out[s.id] = rest;
      const pair = keep(s.selectedCandidatePairId);
      keep(pair?.localCandidateId);
      keep(pair?.remoteCandidateId);
    }
  });
  return out;
}
async function ask() {
  const { pc } = call;
  if (!pc || pc.connectionState === 'closed') return;
  const at = Date.now();
  const line = { at, report: kept(await pc.getStats()) };
  if (call.muted !== undefined) line.muted = call.muted;
  call.polls.push(line);
}
// Polling goes by the second of the page's own clock.
window.poll = (on) => {
  clearInterval(call.timer);
  if (on) call.timer = setInterval(ask, 1000);
};
window.take = () => call.polls.splice(0);
