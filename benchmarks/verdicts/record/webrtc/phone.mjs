// A phone: Chromium with page.js, and plain SIP over UDP by which it calls. It runs where its network is (a namespace) and is driven by
// lines of JSON: {"id", "do", "args"} → {"id", "value"} or {"id", "error"}; what happens by itself is {"event", …}.
import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';

const { chromium } = createRequire(new URL('../../../../api/portal/package.json', import.meta.url))('playwright-core');
const say = (line) => process.stdout.write(JSON.stringify(line) + '\n');
const sleep = (ms) => new Promise((then) => setTimeout(then, ms));
const CRLF = '\r\n';

// Browser: the page's functions are what it can do.
let browser, page;
const at = 'http://localhost/';
async function begin({ wav, encrypted = false }) {
  browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--disable-background-timer-throttling', '--disable-renderer-backgrounding', '--disable-features=WebRtcHideLocalIpsWithMdns',
      '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${wav}`, '--autoplay-policy=no-user-gesture-required',
      // RTP and RTCP in the clear, so that the monitor reads what the pages counted.
      ...(encrypted ? [] : ['--disable-webrtc-encryption']),
    ],
  });
  await visit();
}
async function visit() {
  page = await browser.newPage();
  page.on('pageerror', (e) => say({ event: 'error', error: String(e) }));
  await page.exposeFunction('tell', (event, value) => say({ event, value }));
  const html = `<!doctype html><script>${readFileSync(new URL('page.js', import.meta.url))}</script>`;
  await page.route('**/*', (route) => route.fulfill({ contentType: 'text/html', body: html }));
  await page.goto(at); // localhost: without a secure context there is no microphone
}

// Sip: one dialog with one peer, as much of RFC 3261 as a call between two phones needs.
const T1 = 500;
const sip = { cseq: 0, remoteCseq: 0, waiting: new Map() };
const user = (name, host) => `sip:${name}@${host}:5060`;
async function listen({ host, name }) {
  sip.host = host;
  sip.name = name;
  sip.tag = Math.random().toString(36).slice(2, 10);
  sip.socket = createSocket('udp4');
  sip.socket.on('message', (text, peer) => heard(text.toString(), peer.address).catch((e) => say({ event: 'error', error: String(e.stack) })));
  await new Promise((then, fail) => sip.socket.bind(5060, host, then).on('error', fail));
}
const header = (text, name) => new RegExp(`^${name}:[ \t]*(.*?)\r?$`, 'im').exec(text)?.[1];
const put = (text, host) => sip.socket.send(text, 5060, host);
const body = (sdp) => (sdp ? `Content-Type: application/sdp${CRLF}Content-Length: ${Buffer.byteLength(sdp)}${CRLF}${CRLF}${sdp}` : `Content-Length: 0${CRLF}${CRLF}`);
function request(method, cseq, branch, sdp) {
  const { host, name, tag, peer, peerName, peerTag, callID, route } = sip;
  // Of a dialog's two sides each says itself in From.
  return [
    `${method} ${user(peerName, peer)} SIP/2.0`, `Via: SIP/2.0/UDP ${host}:5060;branch=${branch};rport`, 'Max-Forwards: 70',
    `From: <${user(name, host)}>;tag=${tag}`, `To: <${user(peerName, peer)}>${peerTag ? `;tag=${peerTag}` : ''}`, `Call-ID: ${callID}`, `CSeq: ${cseq} ${method}`,
    `Contact: <${user(name, host)}>`, ...(route ? [`Route: ${route}`] : []), `User-Agent: Chromium ${browser?.version() ?? ''}`.trim(), body(sdp),
  ].join(CRLF);
}
// A transaction: sent again until somebody answers; an INVITE's final answer is acknowledged.
async function transact(method, sdp) {
  const cseq = ++sip.cseq;
  const branch = 'z9hG4bK' + Math.random().toString(36).slice(2, 12);
  const text = request(method, cseq, branch, sdp);
  const answer = new Promise((then) => sip.waiting.set(`${cseq} ${method}`, then));
  let heardOf = false;
  sip.provisional = () => (heardOf = true);
  let done = false;
  answer.then(() => (done = true));
  for (let wait = T1, n = 0; !done && !heardOf && n < 8; wait = Math.min(wait * 2, 4000), n++) {
    put(text, sip.proxy ?? sip.peer);
    await Promise.race([answer, sleep(wait)]);
    if (method === 'BYE' && n === 3) return null; // nobody there
  }
  const got = await answer;
  sip.peerTag = /tag=([^;\s]+)/.exec(header(got, 'To'))?.[1];
  const status = Number(got.split(' ')[1]);
  if (method === 'INVITE') {
    sip.route = header(got, 'Record-Route'); // one proxy, one route
    sip.ack = request('ACK', cseq, 'z9hG4bK' + Math.random().toString(36).slice(2, 12));
    put(sip.ack, sip.proxy ?? sip.peer);
  }
  return { status, sdp: got.slice(got.indexOf(CRLF + CRLF) + 4), at: Date.now() };
}
function response(to, status, reason, sdp) {
  const tagged = /tag=/.test(header(to, 'To')) ? header(to, 'To') : `${header(to, 'To')};tag=${sip.tag}`;
  return [
    `SIP/2.0 ${status} ${reason}`, `Via: ${header(to, 'Via')}`, `From: ${header(to, 'From')}`, `To: ${tagged}`, `Call-ID: ${header(to, 'Call-ID')}`,
    `CSeq: ${header(to, 'CSeq')}`, `Contact: <${user(sip.name, sip.host)}>`, `User-Agent: Chromium ${browser?.version() ?? ''}`.trim(), body(sdp),
  ].join(CRLF);
}
async function heard(text, from) {
  const cseq = header(text, 'CSeq');
  if (text.startsWith('SIP/2.0')) {
    if (/^SIP\/2\.0 1/.test(text)) return sip.provisional?.();
    const then = sip.waiting.get(cseq);
    sip.waiting.delete(cseq);
    if (then) then(text);
    else if (cseq.endsWith('INVITE') && sip.ack) put(sip.ack, from); // a 200 that was sent again
    return;
  }
  const [n, method] = cseq.split(' ');
  if (method === 'ACK') return sip.acknowledged?.();
  if (method === 'BYE') {
    put(response(text, 200, 'OK'), from);
    if (sip.byeSeen !== cseq) say({ event: 'bye' });
    sip.byeSeen = cseq;
    return;
  }
  if (method !== 'INVITE' || Number(n) <= sip.remoteCseq) {
    if (method === 'INVITE' && sip.lastProvisional) put(sip.lastProvisional, from);
    return; // seen before
  }
  const first = sip.remoteCseq === 0;
  sip.remoteCseq = Number(n);
  sip.invite = text;
  sip.peer = from;
  sip.callID = header(text, 'Call-ID');
  sip.peerTag = /tag=([^;\s]+)/.exec(header(text, 'From'))[1];
  sip.peerName = /sip:([^@]+)@/.exec(header(text, 'From'))[1];
  sip.lastProvisional = first ? response(text, 180, 'Ringing') : response(text, 100, 'Trying');
  put(sip.lastProvisional, from);
  say({ event: 'invite', first, sdp: text.slice(text.indexOf(CRLF + CRLF) + 4) });
}

const can = {
  begin,
  listen,
  // A page that goes away without a word, and one that comes in its stead.
  crash: async () => {
    await page.close();
    await visit();
  },
  invite: async ({ peer, name, callID, sdp, proxy }) => {
    Object.assign(sip, { peer, peerName: name, callID, proxy });
    return transact('INVITE', sdp);
  },
  reinvite: ({ sdp }) => transact('INVITE', sdp),
  // The answer to the last INVITE, until it is acknowledged.
  ok: async ({ sdp }) => {
    const text = response(sip.invite, 200, 'OK', sdp);
    let done = false;
    const acknowledged = new Promise((then) => (sip.acknowledged = () => then((done = true))));
    const sent = Date.now();
    for (let wait = T1, n = 0; !done && n < 8; wait = Math.min(wait * 2, 4000), n++) {
      put(text, sip.peer);
      await Promise.race([acknowledged, sleep(wait)]);
    }
    return { at: sent };
  },
  bye: () => transact('BYE'),
  end: async () => {
    await browser?.close();
    sip.socket?.close();
    setTimeout(() => process.exit(0), 50);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, do: what, args = [] } = JSON.parse(line);
  const doing = can[what] ? can[what](...args) : page.evaluate(([f, a]) => window[f](...a), [what, args]);
  Promise.resolve(doing).then((value) => say({ id, value: value ?? null }), (e) => say({ id, error: String(e.stack ?? e) }));
}
await browser?.close();
process.exit(0);
