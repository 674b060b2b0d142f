// A list of rows keyed by uid: rows that stay are renewed in place; while the list is in use, nothing moves in it.

import { focusIn, giveFocus, renew, say, saidBy } from "./dom.js";

const USED_MS = 10_000; // a focus that nobody has used for so long was left behind by a click

/** The rows of a fragment by uid, in their order. */
export function rowsOf(root) {
  return new Map([...root.querySelectorAll("[data-rows] > [data-uid]")].map((row) => [row.dataset.uid, row]));
}

export class Rows {
  /** `onGone` marks a row that will go, `keeps` names one that is being read, `onPlaced` follows each change. */
  constructor(root, { onGone = () => {}, keeps = () => false, onPlaced = () => {} } = {}) {
    Object.assign(this, { root, onGone, keeps, onPlaced, waiting: null, used_ms: -Infinity });
    for (const use of ["click", "keydown", "focusin"]) root.addEventListener(use, () => { this.used_ms = performance.now(); });
    for (const left of ["pointerleave", "focusout"]) root.addEventListener(left, () => setTimeout(() => this.release(), 300));
    root.addEventListener("click", (event) => { if (event.target.closest(".pill") && this.waiting) this.place(this.waiting); });
    setInterval(() => this.release(), 1000);
  }

  inUse() {
    if (this.root.matches(":hover")) return true;
    const row = document.activeElement?.closest("[data-uid]");
    return this.root.contains(row ?? null) && performance.now() - this.used_ms < USED_MS;
  }

  release() {
    if (this.waiting && !this.inUse()) this.place(this.waiting);
  }

  /** The whole of it anew. */
  replace(fragment) {
    this.waiting = null;
    const held = focusIn(this.root);
    this.root.replaceChildren(fragment);
    giveFocus(this.root, held);
    this.onPlaced();
  }

  /** Shows the fragment's rows at once, or renews those that stay and lets the others wait behind the pill. */
  show(fragment) {
    if (this.inUse() && this.differs(fragment)) this.wait(fragment);
    else this.place(fragment);
  }

  differs(fragment) {
    return [...rowsOf(this.root).keys()].join() !== [...rowsOf(fragment).keys()].join();
  }

  renewRows(fragment) {
    const before = rowsOf(this.root);
    for (const [uid, row] of rowsOf(fragment)) {
      const old = before.get(uid);
      if (old && !this.keeps(old)) renew(old, row.cloneNode(true));
    }
  }

  wait(fragment) {
    this.waiting = fragment;
    this.renewRows(fragment);
    const before = rowsOf(this.root);
    const next = rowsOf(fragment);
    for (const [uid, row] of before) if (!next.has(uid)) this.onGone(row);
    this.pill([...next.keys()].filter((uid) => !before.has(uid)).length);
    this.onPlaced();
  }

  place(fragment) {
    this.waiting = null;
    const held = focusIn(this.root);
    this.pill(0);
    this.renewRows(fragment);
    const next = rowsOf(fragment);
    const current = rowsOf(this.root);
    for (const [uid, row] of current) if (!next.has(uid) && !this.keeps(row)) row.remove();
    this.order(next, current);
    this.root.querySelector("[data-empty]").hidden = next.size > 0;
    giveFocus(this.root, held);
    this.onPlaced();
  }

  order(next, current) {
    const list = this.root.querySelector("[data-rows]");
    let at = null;
    for (const [uid, row] of next) {
      const element = current.get(uid) ?? row.cloneNode(true);
      if (!current.has(uid)) { saidBy(element); element.classList.add("new"); }
      const wanted = at ? at.nextElementSibling : list.firstElementChild;
      if (wanted !== element) list.insertBefore(element, wanted);
      at = element;
    }
  }

  pill(count) {
    const button = this.root.querySelector(".pill");
    button.hidden = count === 0;
    button.textContent = say("new", { n: count });
  }
}
