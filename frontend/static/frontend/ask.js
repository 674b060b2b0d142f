// Asking the server from the set-up screens: sentences, posts, and the wait for a camera. Only imported, never a page's
// own script: a module that is both would run twice, once under each of its names.

import { parse, tell, texts } from "./dom.js";

const TRY_MS = 15000;
const words = JSON.parse(document.getElementById("setup-texts")?.textContent ?? "{}");

/** "{n} s" of the set-up screens with n filled in. */
export function word(name, values = {}) {
  return (words[name] ?? texts[name] ?? name).replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** Posts `body`; the answer as text. A refusal throws an error whose `sentence` is for the person. */
export async function post(address, body) {
  const response = await fetch(address, {
    method: "POST", body, credentials: "same-origin", headers: { Accept: "application/json, text/html" },
    signal: AbortSignal.timeout(TRY_MS),
  });
  if (response.redirected && new URL(response.url).pathname.startsWith("/login/")) {
    location.assign(`/login/?next=${encodeURIComponent(location.pathname)}`);
  }
  const text = await response.text();
  if (response.ok) return text;
  const refused = response.headers.get("Content-Type")?.startsWith("application/json") ? JSON.parse(text) : {};
  throw Object.assign(new Error(`${address}: ${response.status}`), refused);
}

/** A form's fields with its token, for `post`. */
export function tokens() {
  const body = new FormData();
  body.set("csrfmiddlewaretoken", document.querySelector("input[name=csrfmiddlewaretoken]").value);
  return body;
}

/** Shows in `place` that a camera is being asked, and for how long already, until the returned function is called. */
function counting(place) {
  const began = Date.now();
  const line = document.createElement("p");
  line.className = "asking num";
  line.setAttribute("role", "status");
  const show = () => { line.textContent = word("trying", { n: Math.min(10, Math.floor((Date.now() - began) / 1000)) }); };
  show();
  place.replaceChildren(line);
  const timer = setInterval(show, 1000);
  return () => clearInterval(timer);
}

/** Asks the cameras behind `address`; the answer's fragment stands in `place`. True when it came. */
export async function tryInto(place, address, body, button) {
  button.disabled = true;
  const stop = counting(place);
  try {
    const fragment = parse(await post(address, body));
    place.replaceChildren(fragment);
    return fragment;
  } catch (error) {
    place.replaceChildren();
    tell(error.sentence ?? word("failed"));
    return null;
  } finally {
    stop();
    button.disabled = false;
  }
}
