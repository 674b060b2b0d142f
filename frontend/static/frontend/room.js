// Queue and incident: rows keyed by uid, parts renewed only where they differ, keys A R L and the arrows.

import { fetchText, parse, remember, renew, say, saidBy, tell } from "./dom.js";
import { tick } from "./times.js";
import { LiveStage } from "./live.js";

const queue = document.getElementById("queue");
const main = document.getElementById("main");
let show = queue.querySelector(".queue-now").dataset.show;
let after = Number(queue.querySelector(".queue-now").dataset.change);
let waiting = null; // a fragment that must not move rows while the list is in use
let live = null;

// --- the incident's picture -----------------------------------------------------------------------------------------

function fit(stage) {
  const picture = stage?.querySelector(".evidence");
  const overlay = stage?.querySelector(".overlay");
  if (!picture || !overlay) return;
  const place = () => {
    const { naturalWidth: width, naturalHeight: height } = picture;
    if (!width) return;
    overlay.setAttribute("viewBox", `0 0 ${width} ${height}`);
    overlay.firstElementChild.setAttribute("transform", `scale(${width} ${height})`);
    overlay.classList.add("ready");
    // Kept above the pane: the next picture of this shape finds its place before it has loaded.
    main.style.setProperty("--ratio", `${width} / ${height}`);
  };
  picture.addEventListener("load", place);
  if (picture.complete) place();
}

function incident() {
  return main.querySelector(".incident");
}

function mark() {
  const uid = incident()?.dataset.uid;
  for (const row of queue.querySelectorAll(".row")) {
    if (row.dataset.uid === uid) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
    if (row.dataset.uid === uid) row.classList.remove("new");
  }
}

function stopLive() {
  live?.stop();
  live = null;
}

function settle() {
  remember(main);
  fit(main.querySelector(".stage"));
  mark();
  tick();
}

/** Shows another incident. Looking is not handling: nothing is marked by it. */
async function open(uid, address, { push = true } = {}) {
  try {
    const html = await fetchText(`/incidents/${uid}/pane/`);
    if (html === null) return;
    stopLive();
    main.replaceChildren(parse(html));
    document.body.classList.replace("view-queue", "view-incident");
    if (push) history.pushState({ uid }, "", address);
    settle();
  } catch { tell(say("failed")); }
}

/** Renews only those parts of the pane about which the server says something new. */
async function renewPane() {
  const shown = incident();
  if (!shown) return;
  const html = await fetchText(`/incidents/${shown.dataset.uid}/pane/`);
  if (html === null || incident() !== shown) return;
  const fresh = parse(html);
  for (const part of fresh.querySelectorAll("[data-part]")) {
    const old = shown.querySelector(`[data-part="${part.dataset.part}"]`);
    if (!old) { settleWhole(fresh); return; }
    if (part.dataset.part === "stage" && live) continue;
    if (renew(old, part) && part.dataset.part === "stage") fit(part);
  }
  if (fresh.dataset.state === "resolved") shown.querySelector("dialog")?.close();
  shown.dataset.state = fresh.dataset.state;
  tick();
}

function settleWhole(fresh) {
  stopLive();
  incident().replaceWith(fresh);
  settle();
}

// --- the queue ------------------------------------------------------------------------------------------------------

function inUse() {
  return queue.matches(":hover") || queue.contains(document.activeElement) && document.activeElement.closest(".row");
}

function rowsOf(fragment) {
  return new Map([...fragment.querySelectorAll("[data-rows] > [data-uid]")].map((row) => [row.dataset.uid, row]));
}

function copyHead(fragment) {
  renew(queue.querySelector('[data-part="counts"]'), fragment.querySelector('[data-part="counts"]').cloneNode(true));
}

/** Rows that stay are renewed in place; while the list is in use, new ones wait behind the pill and gone ones stay. */
function place(fragment, { still }) {
  const list = queue.querySelector("[data-rows]");
  const before = rowsOf(queue);
  const next = rowsOf(fragment);
  copyHead(fragment);
  const fresh = [...next.keys()].filter((uid) => !before.has(uid));
  const moved = [...next.keys()].filter((uid) => before.has(uid)).join() !== [...before.keys()].filter((uid) => next.has(uid)).join();
  const gone = [...before.keys()].filter((uid) => !next.has(uid));
  for (const [uid, row] of next) if (before.has(uid)) renew(before.get(uid), row.cloneNode(true));
  if (still && (fresh.length || gone.length || moved)) {
    waiting = fragment;
    for (const uid of gone) rowsOf(queue).get(uid).classList.add("resolved");
    pill(fresh.length);
    mark();
    return;
  }
  waiting = null;
  pill(0);
  const current = rowsOf(queue);
  for (const uid of gone) current.get(uid).remove();
  let at = null;
  for (const [uid, row] of next) {
    const element = current.get(uid) ?? row.cloneNode(true);
    if (!current.has(uid)) { saidBy(element); element.classList.add("new"); }
    const wanted = at ? at.nextElementSibling : list.firstElementChild;
    if (wanted !== element) list.insertBefore(element, wanted);
    at = element;
  }
  queue.querySelector("[data-empty]").hidden = next.size > 0;
  mark();
}

function pill(count) {
  const button = queue.querySelector(".pill");
  button.hidden = count === 0;
  button.textContent = say("new", { n: count });
}

async function renewQueue({ force = false } = {}) {
  const html = await fetchText(`${queue.dataset.src}?show=${show}${force ? "" : `&after=${after}`}`);
  if (html === null) return;
  const fragment = parse(html);
  if (fragment.dataset.show !== show) return;
  after = Number(fragment.dataset.change);
  if (force) {
    queue.replaceChildren(fragment);
    remember(queue);
    mark();
  } else place(fragment, { still: inUse() });
  tick();
  if (!incident() && rowsOf(queue).size && !matchMedia("(max-width: 720px)").matches) {
    const [uid, row] = rowsOf(queue).entries().next().value;
    open(uid, row.querySelector("a").href, { push: false }).then(() => document.body.classList.replace("view-incident", "view-queue"));
  }
}

function release() {
  if (waiting && !inUse()) place(waiting, { still: false });
}

queue.addEventListener("pointerleave", () => setTimeout(release, 300));
queue.addEventListener("focusout", () => setTimeout(release, 300));
queue.addEventListener("click", (event) => {
  if (event.target.closest(".pill")) { if (waiting) place(waiting, { still: false }); return; }
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  const chip = event.target.closest(".chip");
  if (chip) {
    event.preventDefault();
    show = chip.dataset.show;
    history.replaceState(history.state, "", `?show=${show}`);
    renewQueue({ force: true }).catch(() => tell(say("failed")));
    return;
  }
  const row = event.target.closest(".row");
  if (row) {
    event.preventDefault();
    open(row.dataset.uid, row.querySelector("a").getAttribute("href"));
  }
});

// --- acting ---------------------------------------------------------------------------------------------------------

async function act(form) {
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  try {
    const response = await fetch(form.action, {
      method: "POST", body: new FormData(form), headers: { Accept: "application/json" }, credentials: "same-origin",
    });
    if (response.status === 204) form.closest("dialog")?.close();
    else if (response.headers.get("Content-Type")?.startsWith("application/json")) tell((await response.json()).sentence);
    else tell(say("failed"));
    await renewPane();
    await renewQueue();
  } catch { tell(say("failed")); } finally {
    for (const button of buttons) button.disabled = false;
  }
}

main.addEventListener("submit", (event) => {
  if (!event.target.dataset.act) return;
  event.preventDefault();
  act(event.target);
});

function askResolve() {
  const dialog = main.querySelector("dialog.resolve");
  if (!dialog || !main.querySelector("[data-open-resolve]")) return;
  dialog.showModal();
  dialog.querySelector("input[type=radio]").focus();
}

function switchLive() {
  const stage = main.querySelector(".stage[data-camera]");
  const button = stage?.querySelector("[data-live]");
  if (!button) return;
  if (live) stopLive();
  else live = new LiveStage(stage);
  button.setAttribute("aria-pressed", String(live !== null));
}

main.addEventListener("click", (event) => {
  if (event.target.closest("[data-open-resolve]")) askResolve();
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
  if (event.target.closest("[data-live]")) switchLive();
});

function step(by) {
  const rows = [...queue.querySelectorAll(".row")];
  const at = rows.findIndex((row) => row.hasAttribute("aria-current"));
  const next = rows[Math.min(rows.length - 1, Math.max(0, at + by))];
  if (!next || next === rows[at]) return;
  next.scrollIntoView({ block: "nearest" });
  open(next.dataset.uid, next.querySelector("a").getAttribute("href"));
}

document.addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.altKey || event.isComposing) return;
  const dialog = main.querySelector("dialog[open]");
  if (dialog) {
    const digit = Number(event.key);
    const choice = event.target.matches("textarea") ? null : dialog.querySelectorAll("input[type=radio]")[digit - 1];
    if (choice) { choice.checked = true; choice.focus(); event.preventDefault(); }
    return;
  }
  if (event.target.matches("input, textarea, select")) return;
  const key = event.key.toLowerCase();
  if (key === "a") main.querySelector('form[data-act="acknowledge"]')?.requestSubmit();
  else if (key === "r") askResolve();
  else if (key === "l") switchLive();
  else if (key === "j" || key === "arrowdown" && !event.target.closest(".side")) step(1);
  else if (key === "k" || key === "arrowup" && !event.target.closest(".side")) step(-1);
  else return;
  event.preventDefault();
});

window.addEventListener("popstate", () => location.reload());
document.addEventListener("room:changed", () => {
  Promise.all([renewQueue(), renewPane()]).catch(() => { /* the bar says so, and the next hint comes */ });
});

settle();
