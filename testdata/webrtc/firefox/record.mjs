// Records firefox153.jsonl.gz anew, a call of a page with itself in Firefox:
//
//	FIREFOX=/usr/bin/firefox-esr node record.mjs
//
// Firefox runs headless with its fake microphone; the page posts getStats() of
// both peer connections once a second.
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const page = `<!doctype html><script type="module">
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const [a, b] = [new RTCPeerConnection(), new RTCPeerConnection()];
  for (const [one, other] of [[a, b], [b, a]]) {
    one.onicecandidate = ({ candidate }) => candidate && other.addIceCandidate(candidate);
    one.ontrack = ({ streams }) => Object.assign(new Audio(), { srcObject: streams[0] }).play();
  }
  stream.getTracks().forEach((track) => a.addTrack(track, stream));
  await a.setLocalDescription(await a.createOffer());
  await b.setRemoteDescription(a.localDescription);
  stream.getTracks().forEach((track) => b.addTrack(track.clone(), stream));
  await b.setLocalDescription(await b.createAnswer());
  await a.setRemoteDescription(b.localDescription);
  const start = Date.now();
  for (let i = 0; i < 15; i++) {
    await new Promise((passed) => setTimeout(passed, 1000));
    for (const [side, peer] of [["A", a], ["B", b]]) {
      const report = Object.fromEntries(await peer.getStats());
      await fetch("/", { method: "POST", body: JSON.stringify({ t: (Date.now() - start) / 1000, side, report }) });
    }
  }
  await fetch("/end", { method: "POST" });
</script>`;

let lines = "";
let ended;
const end = new Promise((resolve) => (ended = resolve));
const server = createServer(async (request, response) => {
  if (request.method === "POST") {
    for await (const chunk of request) lines += chunk;
    lines += request.url === "/end" ? "" : "\n";
    if (request.url === "/end") ended();
  }
  response.setHeader("content-type", "text/html").end(request.method === "GET" ? page : "");
}).listen(0, "127.0.0.1");
await new Promise((listening) => server.once("listening", listening));

const profile = mkdtempSync(join(tmpdir(), "firefox-"));
const preferences = {
  "media.navigator.streams.fake": true, "media.navigator.permission.disabled": true, "media.autoplay.default": 0,
  "media.peerconnection.ice.loopback": true, "media.peerconnection.ice.obfuscate_host_addresses": false,
  "browser.shell.checkDefaultBrowser": false, "datareporting.policy.dataSubmissionEnabled": false, "app.update.enabled": false,
};
writeFileSync(join(profile, "user.js"), Object.entries(preferences).map(([k, v]) => `user_pref(${JSON.stringify(k)}, ${JSON.stringify(v)});\n`).join(""));
const firefox = spawn(process.env.FIREFOX, ["--headless", "--no-remote", "--profile", profile, `http://127.0.0.1:${server.address().port}/`], { stdio: "ignore" });
await end;
firefox.kill();
await new Promise((exited) => firefox.once("exit", exited));
rmSync(profile, { recursive: true, force: true });
server.close();
writeFileSync("firefox153.jsonl.gz", gzipSync(lines, { level: 9 }));
