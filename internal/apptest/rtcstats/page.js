// What a page with a call needs, and what its browser told the client: seen has one entry for each getStats().
const seen = [];
const native = RTCPeerConnection.prototype.getStats;
RTCPeerConnection.prototype.getStats = async function getStats(...given) {
  const report = await native.apply(this, given);
  const one = { at: 0 };
  report.forEach((s) => {
    one.at = Math.max(one.at, s.timestamp);
    if (s.type === 'inbound-rtp') Object.assign(one, { packetsReceived: s.packetsReceived, jitter: s.jitter });
    if (s.type === 'outbound-rtp') one.packetsSent = s.packetsSent;
  });
  seen.push({ ...one, at: Math.round(one.at) });
  return report;
};
window.seen = () => seen;

// The npm package asks Chromium in a way that it has dropped, unless it takes it for another browser.
Object.defineProperty(Navigator.prototype, 'webkitGetUserMedia', { value: undefined });
// Jitsi's client waits 1 s and up to 10 s more, at random, before it connects again.
Math.random = () => 0;

// The socket of the client, and whether Earshot has said something on it.
const Socket = window.WebSocket;
window.WebSocket = class extends Socket {
  constructor(...given) {
    super(...given);
    window.socket = this;
    this.addEventListener('message', () => (this.spoken = true));
  }
};
window.connected = (spoken) => window.socket?.readyState === Socket.OPEN && window.socket.bufferedAmount === 0 && (!spoken || window.socket.spoken === true);

window.prepare = async (settings) => {
  window.end = window.begin(settings);
  const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const pc = (window.pc = new RTCPeerConnection());
  pc.addEventListener('track', (e) => {
    const sound = (window.sound = new Audio());
    sound.srcObject = new MediaStream([e.track]);
    sound.play();
  });
  for (const t of microphone.getTracks()) pc.addTrack(t, microphone);
};
const gathered = async (pc) => {
  while (pc.iceGatheringState !== 'complete') await new Promise((then) => setTimeout(then, 20));
  return JSON.parse(JSON.stringify(pc.localDescription));
};
window.offer = async () => {
  await window.pc.setLocalDescription(await window.pc.createOffer());
  return gathered(window.pc);
};
window.accept = async (description) => {
  await window.pc.setRemoteDescription(description);
  if (description.type === 'answer') return undefined;
  await window.pc.setLocalDescription(await window.pc.createAnswer());
  return gathered(window.pc);
};
