// The wall: a tile a camera, live while it can be seen; what each says follows the health strip's reading.

import { fetchText, persist } from "./dom.js";
import { Tile, Wall } from "./live.js";

const SCROLL_MS = 250; // tiles that only pass by while somebody scrolls are not asked for

const page = document.getElementById("main");
const elements = [...page.querySelectorAll(".tile")];
const tiles = new Map();
for (const element of elements) {
  const words = element.querySelector(".say");
  const say = (text) => { if (words.textContent !== text) words.textContent = element.classList.contains("off") ? "" : text; };
  tiles.set(element.dataset.camera, new Tile(element, element.querySelector("canvas"), say));
}

if (elements.length) {
  const wall = new Wall(tiles, new Set());
  let settled = null;
  const eye = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      if (isIntersecting) wall.seen.add(target.dataset.camera);
      else wall.seen.delete(target.dataset.camera);
    }
    clearTimeout(settled);
    settled = setTimeout(() => wall.watch(), SCROLL_MS);
  });
  for (const element of elements) eye.observe(element);
}

document.addEventListener("room:changed", persist(async () => {
  const text = await fetchText(page.dataset.states);
  if (text === null) return;
  const said = JSON.parse(text);
  if (Object.keys(said).sort().join() !== [...tiles.keys()].sort().join()) { location.reload(); return; }
  for (const element of elements) {
    const state = said[element.dataset.camera];
    element.classList.toggle("off", !state.sees);
    element.querySelector(".blind-note b").textContent = state.words;
    element.querySelector(".blind-note span").textContent = state.why;
  }
}));
