// Records chrome156.json.gz and chrome156.getstats.json.gz anew:
//
//	CHROMIUM=/usr/bin/chromium node record.mjs      where playwright-core can be found
//
// A page calls itself with Chromium's fake microphone and polls getStats() twice
// a second; then chrome://webrtc-internals is asked for its dump.
import { createServer } from "node:http";
import { readFileSync, writeFileSync } from "node:fs";
import { gunzipSync, gzipSync } from "node:zlib";
import { chromium } from "playwright-core";

const server = createServer((_, response) => response.setHeader("content-type", "text/html").end("<!doctype html>")).listen(0, "127.0.0.1");
await new Promise((listening) => server.once("listening", listening));
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM,
  args: ["--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"],
});
const context = await browser.newContext({ acceptDownloads: true });
const internals = await context.newPage();
await internals.goto("chrome://webrtc-internals");
const page = await context.newPage();
await page.goto(`http://127.0.0.1:${server.address().port}/`);
await page.evaluate(async () => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const [a, b] = (window.peers = [new RTCPeerConnection(), new RTCPeerConnection()]);
  for (const [one, other] of [[a, b], [b, a]]) {
    one.onicecandidate = ({ candidate }) => other.addIceCandidate(candidate);
    one.ontrack = ({ streams }) => Object.assign(new Audio(), { srcObject: streams[0] }).play();
  }
  stream.getTracks().forEach((track) => a.addTrack(track, stream));
  await a.setLocalDescription(await a.createOffer());
  await b.setRemoteDescription(a.localDescription);
  stream.getTracks().forEach((track) => b.addTrack(track.clone(), stream));
  await b.setLocalDescription(await b.createAnswer());
  await a.setRemoteDescription(b.localDescription);
});
const polls = [];
for (let i = 0; i < 24; i++) {
  await new Promise((passed) => setTimeout(passed, 500));
  polls.push(await page.evaluate(async () => {
    const types = ["inbound-rtp", "outbound-rtp", "remote-inbound-rtp", "remote-outbound-rtp", "media-source", "codec",
      "candidate-pair", "transport", "local-candidate", "remote-candidate"];
    const results = await Promise.all(window.peers.map((peer) => peer.getStats()));
    const [a, b] = results.map((report) => Object.fromEntries([...report].filter(([, object]) => types.includes(object.type))));
    return { a, b };
  }));
}
await internals.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
const download = internals.waitForEvent("download");
await internals.evaluate(() => [...document.querySelectorAll("button")].find((button) => /download|dump/i.test(button.textContent)).click());
const dump = readFileSync(await (await download).path());
writeFileSync("chrome156.json.gz", gzipSync(gunzipSync(dump), { level: 9 }));
writeFileSync("chrome156.getstats.json.gz", gzipSync(JSON.stringify(polls), { level: 9 }));
await browser.close();
server.close();
