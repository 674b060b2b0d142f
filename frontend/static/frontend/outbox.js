// The outbox renews its list when something changed, and loads an e-mail's frame only when it is opened.

import { fetchText, parse, renew, saidBy } from "./dom.js";
import { tick } from "./times.js";

const outbox = document.getElementById("outbox");
let after = outbox.querySelector(".outbox-now").dataset.change;

function rows(root) {
  return new Map([...root.querySelectorAll("[data-rows] > [data-uid]")].map((row) => [row.dataset.uid, row]));
}

document.addEventListener("room:changed", async () => {
  try {
    const html = await fetchText(`${outbox.dataset.src}?part=list&after=${after}`);
    if (html === null) return;
    const fragment = parse(html);
    after = fragment.dataset.change;
    const list = outbox.querySelector("[data-rows]");
    const before = rows(outbox);
    let at = null;
    for (const [uid, row] of rows(fragment)) {
      let element = before.get(uid);
      if (!element) { element = row; saidBy(element); } else if (!element.querySelector("details[open]") && renew(element, row)) element = row;
      const wanted = at ? at.nextElementSibling : list.firstElementChild;
      if (wanted !== element) list.insertBefore(element, wanted);
      at = element;
    }
    outbox.querySelector("[data-empty]").hidden = list.children.length > 0;
    tick();
  } catch { /* the bar says that the connection is lost */ }
});

outbox.addEventListener("toggle", (event) => {
  const frame = event.target.querySelector?.("iframe[data-src]");
  if (event.target.open && frame) { frame.src = frame.dataset.src; frame.removeAttribute("data-src"); }
}, true);
