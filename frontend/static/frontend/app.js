// Every page: clock, health strip, the socket that hints at changes, the bar when it is lost, the sound.

import { fetchText, parse, persist, say } from "./dom.js";
import { roomTime, now_ms, serverSays, tick } from "./times.js";
import { Socket } from "./socket.js";
import { chime } from "./sound.js";

const strip = document.getElementById("strip");
const bar = document.getElementById("lost");
const badge = document.getElementById("badge");
const SLOW_MS = 4000; // how often a page without its socket asks over HTTP

let known_at_ms = now_ms();
let change = Number(reading().dataset.change);
let newest = reading().dataset.newest;

function reading() {
  return strip.firstElementChild;
}

function showBadge() {
  const waiting = Number(reading().dataset.waiting);
  badge.textContent = waiting > 99 ? "99+" : String(waiting);
  badge.hidden = waiting === 0;
}

/** Fetches the strip, sounds for a newer waiting incident, and lets the page fetch its own part. */
const resync = persist(async () => {
  const html = await fetchText(strip.dataset.src);
  if (html === null) return;
  strip.replaceChildren(parse(html));
  const now = reading().dataset;
  // UUIDv7: a later one is greater.
  if (now.newest && now.newest > newest) chime();
  if (now.newest) newest = now.newest;
  change = Number(now.change);
  showBadge();
  tick();
  document.dispatchEvent(new CustomEvent("room:changed", { detail: { change } }));
  known_at_ms = now_ms();
});

function onText(message) {
  if (message.now) { serverSays(message.now); known_at_ms = now_ms(); }
  if (message.type === "hello") resync();
  if (message.type === "changed" && message.change > change) resync();
  if (message.type === "health" && message.digest !== reading().dataset.digest) resync();
}

let slow = null;
let down = null;

async function slowly() {
  const fresh = await resync();
  if (socket.up) return;
  bar.textContent = say(fresh ? "slow" : "lost", { time: roomTime(known_at_ms) });
  bar.hidden = false;
}

const socket = new Socket("/ws/room/", {
  onText,
  onUp() {
    clearInterval(slow);
    clearTimeout(down);
    slow = down = null;
    bar.hidden = true;
    document.body.dataset.socket = "up";
  },
  onDown() {
    document.body.dataset.socket = "down";
    down ??= setTimeout(slowly, 700); // a blip is not worth a bar
    slow ??= setInterval(slowly, SLOW_MS);
  },
});

showBadge();

const menu = document.getElementById("menu");
document.addEventListener("pointerdown", (event) => { if (menu.open && !menu.contains(event.target)) menu.open = false; });
document.addEventListener("keydown", (event) => { if (event.key === "Escape") menu.open = false; });
const said = document.getElementById("said");
if (!said.hidden) setTimeout(() => { said.hidden = true; }, 8000);
