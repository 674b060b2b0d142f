// The outbox renews its figures and its list when something changed, and loads an e-mail's frame only when it is opened.

import { fetchText, parse, persist } from "./dom.js";
import { Rows } from "./rows.js";
import { tick } from "./times.js";

const outbox = document.getElementById("outbox");
const rows = new Rows(outbox, { keeps: (row) => row.querySelector("details[open]"), onPlaced: tick });
let after = Number(outbox.querySelector(".outbox-now").dataset.change);

const renewOutbox = persist(async () => {
  const html = await fetchText(`${outbox.dataset.src}?part=list&after=${after}`);
  if (html === null) return;
  const fragment = parse(html);
  after = Number(fragment.dataset.change);
  outbox.querySelector(".loads").replaceWith(fragment.querySelector(".loads").cloneNode(true));
  rows.show(fragment);
});

document.addEventListener("room:changed", renewOutbox);

outbox.addEventListener("toggle", (event) => {
  const frame = event.target.querySelector?.("iframe[data-src]");
  if (event.target.open && frame) { frame.src = frame.dataset.src; frame.removeAttribute("data-src"); }
}, true);
