// Many cameras at once: the list stays in this page; the server says what it would do, and does it when asked again.

import { post, word } from "./ask.js";
import { parse, tell } from "./dom.js";

const FILE_MOST = 1000000;

const form = document.getElementById("list-form");
const place = document.getElementById("preview");
const doIt = document.getElementById("do-it");
const showIt = document.getElementById("show-preview");

form.elements.time_zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;

function forget() {
  place.replaceChildren();
  doIt.hidden = true;
  showIt.classList.replace("second", "primary");
}

async function ask(address, button) {
  button.disabled = true;
  try { return await post(address, new FormData(form)); }
  catch (error) { tell(error.sentence ?? word("failed")); return null; }
  finally { button.disabled = false; }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const html = await ask(form.dataset.preview, showIt);
  if (html === null) return;
  const fragment = parse(html);
  place.replaceChildren(fragment);
  doIt.hidden = fragment.dataset.doable !== "1";
  showIt.classList.replace("primary", doIt.hidden ? "primary" : "second");
  place.scrollIntoView({ block: "nearest" });
});

doIt.addEventListener("click", async () => {
  const answer = await ask(form.dataset.apply, doIt);
  if (answer !== null) location.assign(JSON.parse(answer).address);
});

form.elements.list.addEventListener("input", forget);
document.getElementById("list-file").addEventListener("change", async ({ target }) => {
  const [file] = target.files;
  if (!file) return;
  form.elements.list.value = (await file.slice(0, FILE_MOST).text());
  forget();
});
