// Queue and incident: rows keyed by uid, parts renewed only where they differ, keys A R L G S N and the arrows.

import { fetchText, parse, persist, remember, renew, renewTokens, say, saidBy, tell } from "./dom.js";
import { Rows, rowsOf } from "./rows.js";
import { tick } from "./times.js";
import { LiveStage } from "./live.js";

const HERE = Promise.resolve(true);

const queue = document.getElementById("queue");
const main = document.getElementById("main");
let show = queue.querySelector(".queue-now").dataset.show;
let after = Number(queue.querySelector(".queue-now").dataset.change);
let live = null;
// Answers may overtake each other: each function counts its questions and heeds only the answer to the newest.
let queueTurn = 0;
let paneTurn = 0;
let arriving = HERE; // whether the incident that was asked for last is shown now

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

async function fetchAndShow(uid, address, push) {
  const turn = ++paneTurn;
  try {
    const html = await fetchText(`/incidents/${uid}/pane/`);
    if (html === null || turn !== paneTurn) return false;
    const fresh = parse(html);
    stopLive();
    renewTokens(fresh);
    main.replaceChildren(fresh);
    document.body.classList.replace("view-queue", "view-incident");
    if (push) history.pushState({ uid }, "", address);
    settle();
    return true;
  } catch {
    if (turn === paneTurn) tell(say("failed"));
    return false;
  }
}

/** Shows another incident. Looking is not handling: nothing is marked by it. */
function open(uid, address, { push = true } = {}) {
  const mine = fetchAndShow(uid, address, push).then((shown) => {
    if (arriving === mine) {
      arriving = HERE;
      if (!shown) refresh(); // what stays is told what it missed
    }
    return shown;
  });
  arriving = mine;
  return mine;
}

/** A key means the incident that was chosen last, even while it is still on its way. */
function whenShown(work) {
  arriving.then((shown) => { if (shown) work(); });
}

/** Renews only those parts of the pane about which the server says something new. */
async function renewPane() {
  const shown = incident();
  if (!shown || arriving !== HERE) return; // what is on its way is fresher than what it replaces
  const turn = ++paneTurn;
  const html = await fetchPane(shown.dataset.uid);
  if (html === null || turn !== paneTurn || incident() !== shown) return;
  const fresh = parse(html);
  renewTokens(fresh);
  renewParts(shown, fresh);
  renewDialogs(shown, fresh);
  shown.dataset.state = fresh.dataset.state;
  tick();
}

/** The pane's HTML. An incident that this person may no longer see leads back to the queue. */
async function fetchPane(uid) {
  try {
    return await fetchText(`/incidents/${uid}/pane/`);
  } catch (error) {
    if (error.status !== 404) throw error;
    location.assign("/");
    return null;
  }
}

function partsOf(root) {
  return new Map([...root.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
}

function renewParts(shown, fresh) {
  const before = partsOf(shown);
  const next = partsOf(fresh);
  for (const [name, part] of before) if (!next.has(name)) part.remove();
  for (const [name, part] of next) {
    const old = before.get(name);
    if (name === "stage" && live) continue;
    const copy = part.cloneNode(true);
    if (!old) insertPart(shown, part, copy);
    else if (!renew(old, copy)) continue;
    if (name === "stage") fit(copy);
  }
}

/** Puts a part that was not there where it stands in the fresh pane. */
function insertPart(shown, part, copy) {
  saidBy(copy);
  const before = part.previousElementSibling?.dataset.part;
  if (before) shown.querySelector(`[data-part="${before}"]`).after(copy);
  else shown.querySelector(`:scope > .${part.parentElement.className}`).prepend(copy);
}

function dialogsOf(root) {
  return new Map([...root.querySelectorAll("dialog")].map((dialog) => [dialog.dataset.dialog, dialog]));
}

/** A dialog that is open stays as it is: somebody may be writing in it. One that has no place any more goes. */
function renewDialogs(shown, fresh) {
  const before = dialogsOf(shown);
  const next = dialogsOf(fresh);
  for (const [name, dialog] of before) if (!next.has(name)) { dialog.close(); dialog.remove(); }
  for (const [name, dialog] of next) {
    const old = before.get(name);
    if (!old) shown.append(dialog);
    else if (!old.open) old.replaceWith(dialog);
  }
}

// --- the queue ------------------------------------------------------------------------------------------------------

const rows = new Rows(queue, { onGone: (row) => row.classList.add("resolved"), onPlaced: () => { mark(); tick(); } });

function shownFilter() {
  return queue.querySelector(".queue-now").dataset.show;
}

async function renewQueue() {
  const turn = ++queueTurn;
  const known = shownFilter() === show ? `&after=${after}` : "";
  const html = await fetchText(`${queue.dataset.src}?show=${show}${known}`);
  if (html === null || turn !== queueTurn) return;
  const fragment = parse(html);
  const change = Number(fragment.dataset.change);
  if (fragment.dataset.show !== shownFilter()) {
    remember(fragment);
    rows.replace(fragment);
  } else if (change >= after) {
    renew(queue.querySelector('[data-part="counts"]'), fragment.querySelector('[data-part="counts"]').cloneNode(true));
    rows.show(fragment);
  }
  after = Math.max(after, change);
  openFirst();
}

/** A calm room shows what comes; a phone shows the queue. */
function openFirst() {
  const [row] = rowsOf(queue).values();
  if (incident() || !row || arriving !== HERE || matchMedia("(max-width: 720px)").matches) return;
  open(row.dataset.uid, row.querySelector("a").href, { push: false })
    .then((shown) => { if (shown) document.body.classList.replace("view-incident", "view-queue"); });
}

const refresh = persist(() => Promise.all([renewQueue(), renewPane()]));

queue.addEventListener("click", (event) => {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.button) return;
  const chip = event.target.closest(".chip");
  if (chip) {
    event.preventDefault();
    show = chip.dataset.show;
    history.replaceState(history.state, "", `?show=${show}`);
    renewQueue().catch(() => { tell(say("failed")); refresh(); });
    return;
  }
  const row = event.target.closest(".row");
  if (row) {
    event.preventDefault();
    open(row.dataset.uid, row.querySelector("a").getAttribute("href"));
  }
});

queue.addEventListener("keydown", (event) => {
  const chip = event.key === " " ? event.target.closest(".chip") : null;
  if (!chip) return;
  event.preventDefault(); // it is called a button, and a button listens to Space
  chip.click();
});

// --- acting ---------------------------------------------------------------------------------------------------------

async function act(form) {
  const buttons = form.querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  try {
    const response = await fetch(form.action, {
      method: "POST", body: new FormData(form), headers: { Accept: "application/json" }, credentials: "same-origin",
    });
    if (response.status === 204) done(form);
    else if (response.headers.get("Content-Type")?.startsWith("application/json")) tell((await response.json()).sentence);
    else tell(say("failed"));
    await refresh();
  } catch { tell(say("failed")); } finally {
    for (const button of buttons) button.disabled = false;
  }
}

/** What was written is kept by the server now. */
function done(form) {
  form.closest("dialog")?.close();
  form.reset();
}

main.addEventListener("submit", (event) => {
  if (!event.target.dataset.act) return;
  event.preventDefault();
  act(event.target);
});

/** Opens the dialog of that name, where the incident offers it. */
function ask(name) {
  const dialog = main.querySelector(`dialog[data-dialog="${name}"]`);
  if (!dialog || !main.querySelector(`[data-open="${name}"]`)) return;
  dialog.showModal();
  const first = dialog.querySelector("[data-first]") ?? dialog.querySelector("input:checked");
  (first ?? dialog.querySelector("input[type=radio], textarea"))?.focus();
}

function askToEnd() {
  ask(incident()?.dataset.state === "resolved" ? "reopen" : "resolve");
}

function writeNote() {
  main.querySelector(".note-form textarea")?.focus();
}

/** A digit chooses what it was; of some answers the next digit says more, or Enter leaves that open. */
function chooseByDigit(dialog, { key, target }) {
  const group = target.closest("fieldset") ?? dialog.querySelector("fieldset");
  const choice = group?.querySelectorAll("input[type=radio]")[Number(key) - 1];
  if (!choice) return false;
  choice.checked = true;
  const more = choice.name === "disposition" ? dialog.querySelector(`[data-for="${choice.value}"] input`) : null;
  (more ?? choice).focus();
  return true;
}

function switchLive() {
  const stage = main.querySelector(".stage[data-camera]");
  const button = stage?.querySelector("[data-live]");
  if (!button) return;
  if (live) stopLive();
  else live = new LiveStage(stage);
  button.setAttribute("aria-pressed", String(live !== null));
  if (!live) refresh(); // while it was live the stage was left alone: its picture may have come meanwhile
}

/** Looks for a change of the rule and shows what was found in the place of the link. */
async function propose(link) {
  const section = link.closest("section");
  const shown = link.textContent;
  link.textContent = link.dataset.busy;
  link.setAttribute("aria-disabled", "true");
  try {
    const html = await fetchText(link.dataset.propose);
    if (html !== null) section.replaceChildren(parse(html));
    tick();
  } catch {
    tell(say("failed"));
    link.textContent = shown;
    link.removeAttribute("aria-disabled");
  }
}

main.addEventListener("click", (event) => {
  const asked = event.target.closest("[data-propose]");
  if (asked && !(event.metaKey || event.ctrlKey || event.shiftKey)) {
    event.preventDefault();
    if (!asked.hasAttribute("aria-disabled")) propose(asked);
  }
  const opener = event.target.closest("[data-open]");
  if (opener) ask(opener.dataset.open);
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
    if (!event.target.matches("textarea, input[type=text]") && chooseByDigit(dialog, event)) event.preventDefault();
    return;
  }
  if (event.target.matches("input, textarea, select")) return;
  const key = event.key.toLowerCase();
  if (key === "a") whenShown(() => main.querySelector('form[data-act="acknowledge"]')?.requestSubmit());
  else if (key === "r") whenShown(askToEnd);
  else if (key === "g") whenShown(() => ask("assign"));
  else if (key === "s") whenShown(() => ask("silence"));
  else if (key === "n") whenShown(writeNote);
  else if (key === "l") whenShown(switchLive);
  else if (key === "j" || key === "arrowdown" && !event.target.closest(".side")) step(1);
  else if (key === "k" || key === "arrowup" && !event.target.closest(".side")) step(-1);
  else return;
  event.preventDefault();
});

window.addEventListener("popstate", () => location.reload());
document.addEventListener("room:changed", refresh);

settle();
