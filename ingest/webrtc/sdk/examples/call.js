// Two pages of one browser call each other. BroadcastChannel takes the place of an app's signalling.
import { Earshot } from '../dist/earshot.js';

const field = (id) => document.getElementById(id);
const settings = new URLSearchParams(location.search);
for (const id of ['url', 'key', 'call-id', 'user']) if (settings.has(id)) field(id).value = settings.get(id);
if (settings.has('tone')) field('tone').checked = true;

const signalling = new BroadcastChannel('earshot-example');
let earshot, pc, call;

async function sound() {
  if (!field('tone').checked) return navigator.mediaDevices.getUserMedia({ audio: true });
  const context = new AudioContext();
  const tone = context.createOscillator();
  const out = context.createMediaStreamDestination();
  tone.connect(out);
  tone.start();
  return out.stream;
}

async function connect(side) {
  earshot ??= new Earshot({
    url: field('url').value,
    key: field('key').value,
    user: field('user').value || undefined,
    appKind: 'web',
    appVersion: 'example',
    onError: (error) => console.warn(error.message),
  });
  pc = new RTCPeerConnection();
  pc.onicecandidate = (e) => e.candidate && signalling.postMessage({ candidate: e.candidate.toJSON() });
  pc.ontrack = (e) => (field('heard').srcObject = e.streams[0]);
  pc.onconnectionstatechange = () => {
    if (pc) field('state').textContent = `The call is ${pc.connectionState}.`;
  };
  const stream = await sound();
  for (const track of stream.getTracks()) pc.addTrack(track, stream);
  // The one line that an app needs:
  call = earshot.attach(pc, { callId: field('call-id').value, side });
  for (const id of ['mute', 'rate', 'end']) field(id).disabled = false;
}

function hangUp() {
  call?.end();
  pc?.getSenders().forEach((s) => s.track?.stop());
  pc?.close();
  pc = call = undefined;
  field('state').textContent = 'No call.';
  for (const id of ['mute', 'rate', 'end']) field(id).disabled = true;
}

let early = [];
signalling.onmessage = async ({ data }) => {
  if (data.offer) {
    await connect('contact');
    await pc.setRemoteDescription(data.offer);
    await pc.setLocalDescription();
    signalling.postMessage({ answer: pc.localDescription.toJSON() });
  } else if (data.answer) await pc.setRemoteDescription(data.answer);
  else if (data.bye) hangUp();
  if (data.candidate) early.push(data.candidate);
  if (pc?.remoteDescription) {
    for (const candidate of early) await pc.addIceCandidate(candidate);
    early = [];
  }
};

field('call').onclick = async () => {
  await connect('target');
  await pc.setLocalDescription();
  signalling.postMessage({ offer: pc.localDescription.toJSON() });
};
field('mute').onclick = () => {
  const tracks = pc.getSenders().flatMap((s) => s.track ?? []);
  const muted = tracks.every((t) => t.enabled);
  tracks.forEach((t) => (t.enabled = !muted));
  call.mute(muted);
  field('mute').textContent = muted ? 'Unmute' : 'Mute';
};
field('rate').onclick = () => call.rate(4, 'from the example page');
field('end').onclick = () => {
  signalling.postMessage({ bye: true });
  hangUp();
};

// For those who want to look at the connection from the console.
Object.defineProperty(window, 'pc', { get: () => pc });
