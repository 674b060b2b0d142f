// Small pieces that every screen shares: texts, fetching fragments, putting them in place without moving anything.

const scripted = document.getElementById("texts");
export const texts = scripted ? JSON.parse(scripted.textContent) : {};

/** "{n} new" with n filled in. */
export function say(name, values = {}) {
  return (texts[name] ?? name).replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** The response's text; null for "nothing changed". Leaves for the log-in page when the session has ended. */
export async function fetchText(address) {
  const response = await fetch(address, { headers: { "X-Fragment": "1" }, credentials: "same-origin" });
  if (response.redirected && new URL(response.url).pathname.startsWith("/login/")) {
    location.assign(`/login/?next=${encodeURIComponent(location.pathname)}`);
    return null;
  }
  if (response.status === 204) return null;
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return response.text();
}

/** The first element of a fragment of HTML. */
export function parse(html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  return template.content.firstElementChild;
}

const given = new WeakMap();

/** What the server said an element contains: the page keeps ages current, so its own HTML differs each second. */
export function saidBy(element) {
  if (!given.has(element)) given.set(element, element.outerHTML);
  return given.get(element);
}

/** Remembers, before the first tick, what the server said. */
export function remember(root) {
  for (const element of root.querySelectorAll("[data-uid], [data-part]")) saidBy(element);
}

/** Puts `fresh` in the place of `old` only where the server says something new. True: replaced. */
export function renew(old, fresh) {
  if (saidBy(old) === fresh.outerHTML) return false;
  saidBy(fresh);
  old.replaceWith(fresh);
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
