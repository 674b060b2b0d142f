// The page of this machine: asks how far the look is until it is finished; copies a command.

import { fetchText, parse } from "../frontend/dom.js";

const findings = document.getElementById("findings");
const again = document.getElementById("again");
const ASK_MS = 700;

function prepare() {
  for (const button of findings.querySelectorAll(".copy")) button.hidden = !navigator.clipboard;
}

async function renew() {
  try {
    const html = await fetchText(`${findings.dataset.src}?part=findings`);
    if (html === null) return;
    findings.replaceChildren(parse(html));
    prepare();
  } catch { /* a server that is away is asked again; the page's own bar says that it is away */ }
  follow();
}

function follow() {
  const finished = "finished" in findings.firstElementChild.dataset;
  again.disabled = !finished;
  if (!finished) setTimeout(renew, ASK_MS);
}

findings.addEventListener("click", async (event) => {
  const button = event.target.closest(".copy");
  if (!button) return;
  await navigator.clipboard.writeText(button.previousElementSibling.textContent);
  const word = button.textContent;
  button.textContent = button.dataset.copied;
  setTimeout(() => { button.textContent = word; }, 1500);
});

prepare();
follow();
