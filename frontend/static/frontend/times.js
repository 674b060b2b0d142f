// The room's clock, relative ages and countdowns, all ticking on the browser's own clock corrected by the server's.

import { say } from "./dom.js";

let ahead_ms = 0;

/** The server's clock says `now`: everything relative follows it, not this computer's. */
export function serverSays(now) {
  ahead_ms = Date.parse(now) - Date.now();
}

/** Milliseconds of the server's clock. */
export function now_ms() {
  return Date.now() + ahead_ms;
}

function age(seconds) {
  if (seconds < 2) return say("just_now");
  if (seconds < 100) return say("ago_s", { n: Math.floor(seconds) });
  if (seconds < 5400) return say("ago_min", { n: Math.floor(seconds / 60) });
  if (seconds < 129600) return say("ago_h", { n: Math.floor(seconds / 3600) });
  return say("ago_d", { n: Math.floor(seconds / 86400) });
}

function left(seconds) {
  if (seconds <= 0) return say("now");
  if (seconds < 100) return say("in_s", { n: Math.ceil(seconds) });
  if (seconds < 3600) return say("in_min", { m: Math.floor(seconds / 60), s: Math.floor(seconds % 60) });
  return say("in_h", { h: Math.floor(seconds / 3600), m: Math.floor((seconds % 3600) / 60) });
}

function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const clock = document.getElementById("clock");
const format = clock && new Intl.DateTimeFormat("en-GB", {
  timeZone: clock.dataset.zone, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});

/** A moment in the room's clock. */
export function roomTime(at_ms) {
  return format.format(new Date(at_ms));
}

export function tick() {
  const now = now_ms();
  if (clock) write(clock, roomTime(now));
  for (const element of document.querySelectorAll("[data-ago]")) {
    write(element, age((now - Date.parse(element.dateTime)) / 1000));
  }
  for (const element of document.querySelectorAll("[data-until]")) {
    write(element, left((Date.parse(element.dateTime) - now) / 1000));
  }
}

tick();
setInterval(tick, 500);
