// Rehearsing the rule that the form holds, saved or not: begun, shown as results stream in, cancelled.

import { post, tokens, word } from "./ask.js";
import { fetchText, focusIn, giveFocus, parse, renew, saidBy } from "./dom.js";

const LOOK_MS = 1000;
const UNDER_WAY = new Set(["waiting", "running"]);

const form = document.getElementById("rule-form");
const panel = document.getElementById("rehearse");
const opener = document.getElementById("open-rehearse");
const result = document.getElementById("rehearse-result");
const refused = document.getElementById("rehearse-refused");
const stale = document.getElementById("rehearse-stale");
const said = document.getElementById("rehearse-said");
let timer = null;
let asked = 0; // which beginning the answers belong to

const current = () => result.querySelector(".rehearsal");
const beginButton = () => panel.querySelector("[data-do=begin-rehearsal]");

function open(on) {
  panel.hidden = !on;
  form.classList.toggle("is-rehearsing", on);
  opener.setAttribute("aria-expanded", String(on));
  if (!on) return;
  // Where the panel is not beside the form it stands below it.
  if (matchMedia("(max-width: 1100px)").matches) panel.scrollIntoView({ block: "start" });
  document.getElementById("rehearse-title").focus({ preventScroll: true });
}

// --- showing --------------------------------------------------------------------------------------------------------

/** Puts fresh cards in the place of the old ones; one that is the same stays, with its picture. */
function showFirings(old, fresh) {
  const known = new Map([...old.children].map((card) => [card.dataset.uid, card]));
  const cards = [...fresh.children].map((card) => {
    const before = known.get(card.dataset.uid);
    return before && saidBy(before) === saidBy(card) ? before : card;
  });
  if (cards.length !== old.children.length || cards.some((card, index) => card !== old.children[index])) old.replaceChildren(...cards);
}

function show(html) {
  const fresh = parse(html);
  const old = current();
  const state = fresh.dataset.state;
  if (old?.dataset.src !== fresh.dataset.src) result.replaceChildren(fresh);
  else {
    const held = focusIn(old);
    Object.assign(old.dataset, fresh.dataset);
    showFirings(old.querySelector(".firings"), fresh.querySelector(".firings"));
    for (const part of old.querySelectorAll("[data-part]")) renew(part, fresh.querySelector(`[data-part=${part.dataset.part}]`));
    // The button to cancel has gone with the end: whoever was on it goes on where one begins again.
    if (held !== null && !UNDER_WAY.has(state)) beginButton().focus({ preventScroll: true });
    else giveFocus(old, held);
  }
  if (said.textContent !== fresh.dataset.said) said.textContent = fresh.dataset.said;
  clearTimeout(timer);
  if (UNDER_WAY.has(state)) timer = setTimeout(look, LOOK_MS);
}

async function look() {
  const mine = asked;
  try {
    const html = await fetchText(current().dataset.src);
    if (html !== null && mine === asked) show(html);
  } catch (error) {
    if (mine !== asked) return;
    if (error.status === 404) refuse({ sentence: word("failed") });
    else timer = setTimeout(look, LOOK_MS * 2);
  }
}

function refuse({ sentence, lines }) {
  refused.replaceChildren(...(lines ?? [sentence ?? word("failed")]).map((line) => Object.assign(document.createElement("li"), { textContent: line })));
  refused.hidden = false;
}

/** A button that was disabled lost the focus; whoever had pressed it by keyboard goes on from it. */
function allow(button) {
  button.disabled = false;
  if (document.activeElement === document.body) button.focus({ preventScroll: true });
}

// --- asking ---------------------------------------------------------------------------------------------------------

async function begin() {
  const button = beginButton();
  clearTimeout(timer);
  asked += 1;
  button.disabled = true;
  refused.hidden = stale.hidden = true;
  refused.replaceChildren();
  try {
    show(await post(panel.dataset.begin, new FormData(form)));
  } catch (error) {
    result.replaceChildren();
    refuse(error);
  } finally { allow(button); }
}

async function cancel(button) {
  button.disabled = true;
  try {
    show(await post(current().dataset.cancel, tokens()));
    allow(beginButton());
  } catch (error) {
    button.disabled = false;
    refuse(error);
  }
}

opener.addEventListener("click", () => open(panel.hidden));
panel.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button?.dataset.do === "begin-rehearsal") begin();
  else if (button?.dataset.do === "cancel-rehearsal") cancel(button);
});
panel.addEventListener("keydown", (event) => {
  if (event.key === "Escape") { open(false); opener.focus(); }
  // Enter in a field of the panel begins; it must not save the rule.
  if (event.key === "Enter" && event.target.matches("input")) { event.preventDefault(); begin(); }
});
form.addEventListener("input", () => { if (current()) stale.hidden = false; });
