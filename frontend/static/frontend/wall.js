// The wall: a tile a camera; what each says follows the health strip's reading.

import { Tile, Wall } from "./live.js";
import { fetchText } from "./dom.js";

const wall = document.getElementById("wall");

if (wall) {
  const tiles = new Map();
  for (const element of wall.querySelectorAll(".tile")) {
    const words = element.querySelector(".say");
    const say = (text) => { if (words.textContent !== text) words.textContent = element.classList.contains("off") ? "" : text; };
    tiles.set(element.dataset.camera, new Tile(element, element.querySelector("canvas"), say));
  }
  new Wall(tiles);

  document.addEventListener("room:changed", async () => {
    try {
      const said = JSON.parse((await fetchText(wall.dataset.states)) ?? "{}");
      for (const element of wall.querySelectorAll(".tile")) {
        const state = said[element.dataset.camera];
        if (!state) continue;
        element.classList.toggle("off", !state.sees);
        element.querySelector(".blind-note b").textContent = state.words;
        element.querySelector(".blind-note span").textContent = state.why;
      }
    } catch { /* the bar says that the connection is lost */ }
  });
}
