// Small pieces that every screen shares: texts, fetching fragments, putting them in place without moving anything.

const scripted = document.getElementById("texts");
export const texts = scripted ? JSON.parse(scripted.textContent) : {};

/** "{n} new" with n filled in. */
export function say(name, values = {}) {
  return (texts[name] ?? name).replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

const FETCH_MS = 5000; // a frozen server takes connections and never answers: that counts as failed
const RETRY_MS = 2000;

/** The response's text; null for "nothing changed". Leaves for the log-in page when the session has ended. */
export async function fetchText(address) {
  const response = await fetch(address, {
    headers: { "X-Fragment": "1" }, credentials: "same-origin", signal: AbortSignal.timeout(FETCH_MS),
  });
  if (response.redirected && new URL(response.url).pathname.startsWith("/login/")) {
    location.assign(`/login/?next=${encodeURIComponent(location.pathname)}`);
    return null;
  }
  if (response.status === 204) return null;
  if (!response.ok) throw Object.assign(new Error(`${address}: ${response.status}`), { status: response.status });
  return response.text();
}

/** A function that runs `work`, one run at a time, and after a failure again each two seconds until it succeeds. Its
 *  promise tells whether this run succeeded; asked for during a run, it runs once more, for the run may have read before
 *  the news. */
export function persist(work) {
  let running = null;
  let next = null;
  let timer = null;
  async function once() {
    try {
      await work();
      return true;
    } catch {
      timer = setTimeout(run, RETRY_MS);
      return false;
    } finally { running = null; }
  }
  function run() {
    if (running) return next ??= running.then(() => { next = null; return run(); });
    clearTimeout(timer);
    return running = once();
  }
  return run;
}

/** The first element of a fragment of HTML. */
export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content.firstElementChild;
}

const given = new WeakMap();
const TOKEN = /(name="csrfmiddlewaretoken" value=")[^"]*/g;

/** An element's HTML but for its forms' tokens, which the server masks anew with each answer. */
function written(element) {
  return element.outerHTML.replace(TOKEN, "$1");
}

/** Gives every form of the page the token of a fresh fragment: a log-in elsewhere makes the older ones worthless. */
export function renewTokens(fragment) {
  const fresh = fragment.querySelector("input[name=csrfmiddlewaretoken]");
  if (!fresh) return;
  for (const field of document.querySelectorAll("input[name=csrfmiddlewaretoken]")) field.value = fresh.value;
}

/** What tells one control from the others, in an element and in the one that takes its place. */
function nameOf(control) {
  const { tagName, dataset, form } = control;
  return JSON.stringify([tagName, control.getAttribute("href"), control.getAttribute("name"), form?.dataset.act, { ...dataset }]);
}

/** The name of the control within `root` that has the focus; null when none has. */
export function focusIn(root) {
  const held = document.activeElement;
  return held && held !== root && root.contains(held) ? nameOf(held) : null;
}

/** Gives the focus to the control of that name, unless it is in `root` already. */
export function giveFocus(root, name) {
  if (name === null || root.contains(document.activeElement)) return;
  const controls = [...root.querySelectorAll("a[href], button, input, textarea, summary")];
  controls.find((control) => nameOf(control) === name)?.focus({ preventScroll: true });
}

/** What the server said an element contains: the page keeps ages current, so its own HTML differs each second. */
export function saidBy(element) {
  if (!given.has(element)) given.set(element, written(element));
  return given.get(element);
}

/** Remembers, before the first tick, what the server said. */
export function remember(root) {
  for (const element of root.querySelectorAll("[data-uid], [data-part]")) saidBy(element);
}

/** Puts `fresh` in the place of `old` only where the server says something new; the focus stays. True: replaced. */
export function renew(old, fresh) {
  if (saidBy(old) === written(fresh)) return false;
  saidBy(fresh);
  const held = focusIn(old);
  old.replaceWith(fresh);
  giveFocus(fresh, held);
  return true;
}

/** One fact that the page shows to a person for a few seconds. */
export function tell(sentence) {
  const said = document.getElementById("said");
  said.textContent = sentence;
  said.hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { said.hidden = true; }, 6000);
}

// Before any module ticks: this file is evaluated first.
remember(document);
