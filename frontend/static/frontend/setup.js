// The set-up screens: trying addresses, sending a trial message, fields that belong to a choice.

import { post, tokens, tryInto, word } from "./ask.js";
import { parse, tell } from "./dom.js";

// --- the camera's form ----------------------------------------------------------------------------------------------

const form = document.getElementById("camera-form");

/** Where the log-in in `rest` (an address without its scheme) ends; -1 where there is none. Passwords hold anything, but
 *  an "@" behind host:port/ belongs to the path. */
function loginEnd(rest) {
  const [first] = rest.split("/");
  if (first.includes("@")) return first.lastIndexOf("@");
  return /^[^:]+(:\d{0,5})?$/.test(first) ? -1 : rest.lastIndexOf("@");
}

/** A log-in that was pasted with the address goes to its own fields: nothing shows or keeps it in the address. */
function splitLogin(field) {
  const found = /^(rtsps?:\/\/)(.*)$/i.exec(field.value.trim());
  const end = found ? loginEnd(found[2]) : -1;
  if (end < 0) return;
  const [user, ...rest] = found[2].slice(0, end).split(":");
  const plain = (text) => { try { return decodeURIComponent(text); } catch { return text; } };
  form.elements.user_name.value = plain(user);
  form.elements.password.value = plain(rest.join(":"));
  field.value = found[1] + found[2].slice(end + 1);
  tell(word("split"));
}

function spareRows() {
  return [...form.querySelectorAll("[data-spare]")];
}

function showSpares() {
  const spares = spareRows();
  for (const row of spares) row.hidden = true;
  document.getElementById("more-addresses").hidden = !spares.length;
}

function openSpare() {
  const [row] = spareRows();
  if (!row) return null;
  row.removeAttribute("data-spare");
  row.hidden = false;
  showSpares();
  row.querySelector("input").focus();
  return row;
}

/** Site and group: the fields for a new one show only while a new one is chosen. */
function showNew() {
  for (const part of form.querySelectorAll("[data-new-for]")) {
    part.hidden = Boolean(form.elements[part.dataset.newFor].value);
  }
}

/** The camera's sub-stream, as we guess it, is analysed from now on; what was there is kept as the full picture. */
function takeSubStream(address) {
  const first = form.elements.role_0;
  const row = openSpare();
  if (!row) return;
  first.value = "record";
  row.querySelector("input").value = address;
  row.querySelector("select").value = "detect";
  form.querySelector("#try").click();
}

function setUpForm() {
  const place = document.getElementById("tried");
  const zone = form.elements.time_zone;
  if (zone && !form.elements.site.value && zone.selectedIndex <= 0) zone.value = Intl.DateTimeFormat().resolvedOptions().timeZone;
  showSpares();
  showNew();
  form.addEventListener("change", (event) => { showNew(); if (/^address_/.test(event.target.name)) splitLogin(event.target); });
  form.addEventListener("paste", (event) => { if (/^address_/.test(event.target.name)) setTimeout(() => splitLogin(event.target)); });
  document.getElementById("more-addresses").addEventListener("click", openSpare);
  form.querySelector("#try").addEventListener("click", async (event) => {
    const fragment = await tryInto(place, form.dataset.try, new FormData(form), event.currentTarget);
    if (!fragment) return;
    form.querySelector("input[name=tried]")?.remove();
    const name = Object.assign(document.createElement("input"), { type: "hidden", name: "tried", value: fragment.dataset.name });
    form.append(name);
  });
  place.addEventListener("click", (event) => {
    const offer = event.target.closest("[data-sub-stream]");
    if (offer) takeSubStream(offer.dataset.subStream);
  });
}

if (form) setUpForm();

// --- trial messages -------------------------------------------------------------------------------------------------

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-send-test]");
  if (!button) return;
  const contact = button.closest(".contact");
  contact.querySelector(".trial")?.remove();
  button.disabled = true;
  const before = button.textContent;
  button.textContent = word("sending");
  try {
    contact.append(parse(await post(button.dataset.sendTest, tokens())));
  } catch (error) { tell(error.sentence ?? word("failed")); } finally {
    button.disabled = false;
    button.textContent = before;
  }
});

// --- where one is: on a phone the set-up's pages are one line that scrolls ------------------------------------------------

document.querySelector(".setup-nav [aria-current]")?.scrollIntoView({ inline: "center", block: "nearest" });
