// Drawing on a camera's picture: polygons, directed lines and the rectangle that calibrates the ground, by mouse, finger
// or keyboard, with undo. Corners snap to the picture's edges and to other corners, unless Alt is held.

import { post, tokens, tryInto, word } from "./ask.js";
import { fetchText, tell } from "./dom.js";
import { gridOf } from "./ground.js";
import { arrowOf, History, inside, problemOf, snap } from "./shape.js";

const SVG = "http://www.w3.org/2000/svg";
const STEP = 0.005; // of the picture, for an arrow key; ten times as much with Shift
const TAP_PX = 14; // a press this near to the first corner closes the zone
const SNAP_PX = 9, SNAP_TOUCH_PX = 16; // a corner this near to another, or to the edge, is put on it
const FULL = { line: 2, ground: 4 }; // shapes of so many corners, neither more nor fewer

const bench = document.getElementById("bench");
const canvas = document.getElementById("canvas");
const picture = document.getElementById("snapshot");
const drawing = document.getElementById("drawing");
const shapes = document.getElementById("shapes");
const list = document.getElementById("zones");
const nameField = document.getElementById("zone-name");
const errorLine = document.getElementById("draft-error");
const lengths = ["ground-width", "ground-depth"].map((id) => document.getElementById(id));
const history = new History();

const zones = new Map(JSON.parse(document.getElementById("zones-now").textContent).map((zone) => [zone.uid, zone]));
let ground = JSON.parse(document.getElementById("ground-now").textContent); // { points, width_m, depth_m } or null
let draft = null; // { uid, shape, points, open }: what is being drawn (open) or changed
let chosen = null; // index of the chosen corner
let cross = null; // where the next corner would go, as [x, y]; shown while drawing
let drag = null; // { index, before }: a corner that is being moved
let snapped = null; // { point, on, name }: what the corner under the pointer was put on
let size = [1, 1];

// --- showing --------------------------------------------------------------------------------------------------------

function make(name, attributes, parent = shapes) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

const at = ([x, y]) => [x * size[0], y * size[1]];
const joined = (points) => points.map((point) => at(point).map((value) => value.toFixed(1)).join(",")).join(" ");

function fit() {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width || !height) return;
  size = [width, height];
  drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
  show();
}

function showShape(zone, kind) {
  const { shape, points } = zone;
  if (!points.length) return;
  const attributes = { class: `shape ${shape} ${kind}`, points: joined(points), ...(zone.uid && kind === "other" ? { "data-zone": zone.uid } : {}) };
  make(shape !== "line" && !zone.open ? "polygon" : "polyline", attributes);
  if (shape === "line" && points.length === 2) showArrow(points, kind);
  if (kind === "other") showName(zone);
}

function showArrow(points, kind) {
  const [[ax, ay], [bx, by]] = arrowOf(points, ...size);
  const angle = Math.atan2(by - ay, bx - ax);
  const wing = (turn) => [bx - 9 * Math.cos(angle + turn), by - 9 * Math.sin(angle + turn)].join(",");
  make("polyline", { class: `arrow ${kind}`, points: `${ax},${ay} ${bx},${by}` });
  make("polyline", { class: `arrow ${kind}`, points: `${wing(0.5)} ${bx},${by} ${wing(-0.5)}` });
}

function showName({ name, points }) {
  const [x, y] = at([points.reduce((sum, point) => sum + point[0], 0) / points.length, points.reduce((sum, point) => sum + point[1], 0) / points.length]);
  make("text", { class: "zone-label", x: x.toFixed(1), y: y.toFixed(1) }).textContent = name;
}

function showHandles() {
  const { points, shape, open } = draft;
  if (!open && !FULL[shape]) {
    points.forEach((point, index) => {
      const next = points[(index + 1) % points.length];
      const [x, y] = at([(point[0] + next[0]) / 2, (point[1] + next[1]) / 2]);
      make("circle", { class: "mid", cx: x, cy: y, r: 5, "data-mid": index });
    });
  }
  points.forEach((point, index) => {
    const [x, y] = at(point);
    make("circle", { class: "grip", cx: x, cy: y, r: 18, "data-corner": index });
    const label = `${index + 1} / ${points.length}`;
    make("circle", { class: `corner${index === chosen ? " chosen" : ""}`, cx: x, cy: y, r: 7, "data-corner": index, tabindex: 0, role: "button", "aria-label": label });
    if (shape === "ground") make("text", { class: "corner-number", x, y: y - 15 }).textContent = index + 1;
  });
}

/** Metres as a grid, to check by eye whether the ground was calibrated rightly. */
function showGrid(points, width, depth) {
  if (problemOf("ground", points) || !(width > 0 && depth > 0)) return;
  for (const { line, inner } of gridOf(points, width, depth)) make("polyline", { class: `grid${inner ? " inner" : ""}`, points: joined(line) });
}

function showSnap() {
  if (!snapped?.on) return;
  const [x, y] = at(snapped.point);
  make("circle", { class: "snap", cx: x, cy: y, r: 12 });
}

function showCross() {
  if (!draft?.open || !cross) return;
  const [x, y] = at(cross);
  const last = draft.points.at(-1);
  if (last) make("polyline", { class: "band", points: joined([last, cross]) });
  make("path", { class: "cross", d: `M${x - 9} ${y}H${x + 9}M${x} ${y - 9}V${y + 9}` });
}

function show() {
  const focused = shapes.contains(document.activeElement) ? document.activeElement.dataset.corner : null;
  shapes.replaceChildren();
  for (const zone of zones.values()) if (zone.uid !== draft?.uid) showShape(zone, "other");
  if (draft) {
    if (draft.shape === "ground" && !draft.open) showGrid(draft.points, ...lengths.map((field) => field.valueAsNumber));
    const wrong = !draft.open && problemOf(draft.shape, draft.points) ? " wrong" : "";
    showShape(draft, `draft${wrong}`);
    showHandles();
    showCross();
    showSnap();
  }
  if (focused !== null) shapes.querySelector(`.corner[data-corner="${focused}"]`)?.focus({ preventScroll: true });
  showTools();
}

function showTools() {
  const doing = (name) => bench.querySelector(`[data-do=${name}]`);
  doing("undo").disabled = !history.past.length;
  doing("redo").disabled = !history.future.length;
  doing("corner").disabled = !(draft && (draft.open || !FULL[draft.shape]) && chosen !== null && draft.points.length > (draft.open ? 0 : 3));
  doing("turn").hidden = !(draft?.shape === "line" && draft.points.length === 2);
  for (const button of bench.querySelectorAll("[data-tool]")) button.setAttribute("aria-pressed", String(Boolean(draft?.open && draft.shape === button.dataset.tool)));
  for (const line of list.querySelectorAll("[data-zone]")) line.setAttribute("aria-current", String(line.dataset.zone === draft?.uid));
  document.getElementById("hint").textContent = snapped?.on ? word(`snap_${snapped.on}`, { name: snapped.name }) : word(hintNow());
  canvas.classList.toggle("is-drawing", Boolean(draft?.open));
  canvas.classList.toggle("is-editing", Boolean(draft));
}

function hintNow() {
  if (!draft) return "hint_idle";
  if (draft.shape === "ground") return draft.open ? "hint_ground" : "hint_grid";
  if (draft.open) return draft.shape === "line" ? "hint_line" : "hint_polygon";
  return draft.shape === "line" ? "hint_turn" : "hint_edit";
}

function showPanel() {
  const panel = document.getElementById("draft");
  panel.hidden = !draft;
  complain("");
  if (!draft) return;
  for (const field of panel.querySelectorAll("[data-of]")) field.hidden = (field.dataset.of === "ground") !== (draft.shape === "ground");
  if (draft.shape === "ground") { showGroundPanel(panel); return; }
  const known = zones.get(draft.uid);
  document.getElementById("draft-title").textContent = known ? word("edit_zone", { name: known.name }) : word({ line: "new_line", exclusion: "new_mask" }[draft.shape] ?? "new_zone");
  panel.querySelector("[data-do=delete]").hidden = !known;
  panel.querySelector("[data-do=delete]").textContent = word("delete_zone");
  nameField.value = known?.name ?? freeName(draft.shape);
  // On a telephone the panel stands below the picture.
  if (known) panel.scrollIntoView({ block: "nearest" });
}

function showGroundPanel(panel) {
  document.getElementById("draft-title").textContent = word("ground");
  panel.querySelector("[data-do=delete]").hidden = !ground;
  panel.querySelector("[data-do=delete]").textContent = word("clear_ground");
  lengths[0].value = ground?.width_m ?? "";
  lengths[1].value = ground?.depth_m ?? "";
}

function freeName(shape) {
  const taken = new Set([...zones.values()].map((zone) => zone.name));
  for (let n = 1; ; n += 1) {
    const name = word({ line: "numbered_line", exclusion: "numbered_mask" }[shape] ?? "numbered_zone", { n });
    if (!taken.has(name)) return name;
  }
}

function complain(sentence) {
  errorLine.textContent = sentence;
  errorLine.hidden = !sentence;
}

// --- changing -------------------------------------------------------------------------------------------------------

function begin(shape) {
  history.clear();
  draft = { uid: null, shape, points: [], open: true };
  chosen = cross = snapped = null;
  showPanel();
  show();
  canvas.focus({ preventScroll: true });
}

/** Calibrates the ground: the rectangle that there is, or a new one. */
function calibrate() {
  if (!ground) { begin("ground"); return; }
  take({ uid: null, shape: "ground", points: ground.points.map((point) => [...point]), open: false });
}

function choose(uid) {
  const zone = zones.get(uid);
  if (!zone) return;
  take({ uid, shape: zone.shape, points: zone.points.map((point) => [...point]), open: false });
}

function take(known) {
  history.clear();
  draft = known;
  chosen = snapped = null;
  showPanel();
  show();
}

function leave() {
  history.clear();
  draft = cross = chosen = drag = snapped = null;
  showPanel();
  show();
}

const state = () => ({ points: draft.points, open: draft.open });

/** Changes the draft so that it can be undone. */
function change(work) {
  history.keep(state());
  work();
  complain("");
  show();
}

function addCorner(point) {
  change(() => {
    draft.points.push(point);
    chosen = draft.points.length - 1;
    if (draft.points.length === FULL[draft.shape]) closeNow();
  });
}

function closeNow() {
  draft.open = false;
  cross = chosen = snapped = null;
  const field = draft.shape === "ground" ? lengths[0] : nameField;
  field.focus({ preventScroll: true });
  field.select();
  // Without its lengths a rectangle measures nothing; on a telephone they stand below the picture.
  if (draft.shape === "ground") document.getElementById("draft").scrollIntoView({ block: "nearest" });
}

function close() {
  if (!draft?.open) return;
  if (draft.points.length < (FULL[draft.shape] ?? 3)) { complain(word({ line: "one_end", ground: "four_corners" }[draft.shape] ?? "too_few")); return; }
  change(closeNow);
}

function removeCorner() {
  if (!draft || chosen === null || (FULL[draft.shape] && !draft.open) || draft.points.length <= (draft.open ? 0 : 3)) return;
  change(() => {
    draft.points.splice(chosen, 1);
    chosen = null;
  });
}

function step(back) {
  if (!draft) return;
  const next = back ? history.undo(state()) : history.redo(state());
  if (!next) return;
  Object.assign(draft, next);
  chosen = null;
  show();
}

function move(index, [x, y]) {
  draft.points[index] = [inside(x), inside(y)];
}

// --- pointer --------------------------------------------------------------------------------------------------------

/** Where the pointer is in the picture, put on what it comes near. */
function pointOf(event) {
  const box = canvas.getBoundingClientRect();
  const point = [inside((event.clientX - box.left) / box.width), inside((event.clientY - box.top) / box.height)];
  snapped = event.altKey ? null : snap(point, others(), event.pointerType === "touch" ? SNAP_TOUCH_PX : SNAP_PX, ...size);
  return snapped?.point ?? point;
}

/** The corners that are shown beside the draft's own. */
function others() {
  const shown = [...zones.values()].filter((zone) => zone.uid !== draft.uid);
  return shown.flatMap((zone) => zone.points.map((point) => ({ point, name: zone.name })));
}

function nearFirst(event) {
  if (FULL[draft.shape] || draft.points.length < 3) return false;
  const box = canvas.getBoundingClientRect();
  const [x, y] = at(draft.points[0]);
  return Math.hypot(event.clientX - box.left - x, event.clientY - box.top - y) <= TAP_PX;
}

function press(event) {
  if (event.button) return;
  const { corner, mid, zone } = event.target.dataset;
  if (!draft) { if (zone) choose(zone); return; }
  event.preventDefault();
  canvas.focus({ preventScroll: true });
  if (draft.open) {
    if (nearFirst(event)) close();
    else addCorner(pointOf(event));
    return;
  }
  if (mid !== undefined) {
    const index = Number(mid) + 1;
    change(() => draft.points.splice(index, 0, pointOf(event)));
    grab(event, index);
  } else if (corner !== undefined) grab(event, Number(corner));
  else { chosen = null; show(); }
}

function grab(event, index) {
  chosen = index;
  drag = { index, before: JSON.stringify(state()), moved: false };
  drawing.setPointerCapture(event.pointerId);
  show();
}

function glide(event) {
  if (drag) {
    if (!drag.moved) { drag.moved = true; history.keep(JSON.parse(drag.before)); }
    move(drag.index, pointOf(event));
    show();
  } else if (draft?.open && event.pointerType !== "touch") {
    cross = pointOf(event);
    show();
  }
}

function release() {
  drag = null;
  if (!snapped) return;
  snapped = null;
  show();
}

drawing.addEventListener("pointerdown", press);
drawing.addEventListener("pointermove", glide);
drawing.addEventListener("pointerup", release);
drawing.addEventListener("pointercancel", release);
drawing.addEventListener("focusin", (event) => {
  if (drag || event.target.dataset.corner === undefined || chosen === Number(event.target.dataset.corner)) return;
  chosen = Number(event.target.dataset.corner);
  show();
});

// --- keyboard -------------------------------------------------------------------------------------------------------

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function arrow(event) {
  const [dx, dy] = ARROWS[event.key];
  const far = event.shiftKey ? STEP * 10 : STEP;
  const moved = ([x, y]) => [inside(x + dx * far), inside(y + dy * far)];
  if (draft.open) { cross = moved(cross ?? [0.5, 0.5]); show(); }
  else if (chosen !== null) change(() => move(chosen, moved(draft.points[chosen])));
}

const KEYS = {
  z: () => begin("polygon"), g: () => begin("line"), x: () => begin("exclusion"), m: calibrate,
  Escape: () => { if (draft) leave(); },
  Enter: () => { if (draft?.open) close(); else if (draft) save(); },
  " ": () => { if (draft?.open) addCorner(cross ?? [0.5, 0.5]); },
  Delete: removeCorner, Backspace: removeCorner,
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (typing) {
    if (!typing.closest("#draft")) return;
    if (event.key === "Enter") { event.preventDefault(); save(); }
    if (event.key === "Escape") leave();
    return;
  }
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") { event.preventDefault(); step(!event.shiftKey); return; }
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "y") { event.preventDefault(); step(false); return; }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton = event.target.closest("button, a");
  if (ARROWS[event.key] && draft) { event.preventDefault(); arrow(event); return; }
  const work = KEYS[event.key] ?? KEYS[event.key.toLowerCase()];
  if (!work || (onButton && (event.key === "Enter" || event.key === " "))) return;
  event.preventDefault();
  work();
});

// --- saving ---------------------------------------------------------------------------------------------------------

async function save() {
  if (!draft) return;
  const problem = problemOf(draft.shape, draft.points);
  if (problem) { complain(word(problem)); return; }
  if (draft.shape === "ground") { await saveGround(); return; }
  const body = tokens();
  body.set("zone", draft.uid ?? "");
  body.set("name", nameField.value);
  body.set("shape", draft.shape);
  body.set("points", JSON.stringify(draft.points));
  const button = bench.querySelector("[data-do=save]");
  button.disabled = true;
  try {
    const zone = JSON.parse(await post(bench.dataset.save, body));
    zones.set(zone.uid, zone);
    leave();
    showList();
    tell(word("saved"));
  } catch (error) {
    complain(error.sentence ?? word("failed"));
    if (error.field === "name") nameField.focus();
  } finally { button.disabled = false; }
}

/** Stores what `value` says of the ground, or with null that nothing is known of it. */
async function keepGround(value, said) {
  const body = tokens();
  body.set("ground", value ? JSON.stringify(value) : "");
  const { ground: kept, size: words } = JSON.parse(await post(bench.dataset.ground, body));
  ground = kept;
  document.getElementById("ground-size").textContent = words;
  leave();
  tell(word(said));
}

async function saveGround() {
  const [width, depth] = lengths.map((field) => field.valueAsNumber);
  const empty = lengths.find((field) => !Number.isFinite(field.valueAsNumber));
  if (empty) { complain(word("two_lengths")); empty.focus(); return; }
  const button = bench.querySelector("[data-do=save]");
  button.disabled = true;
  try {
    await keepGround({ points: draft.points, width_m: width, depth_m: depth }, "saved");
  } catch (error) {
    complain(error.sentence ?? word("failed"));
    document.querySelector(`#draft [name="${error.field}"]`)?.focus();
  } finally { button.disabled = false; }
}

async function clearGround() {
  if (!confirm(word("sure_clear"))) return;
  try {
    await keepGround(null, "cleared");
  } catch (error) { complain(error.sentence ?? word("failed")); }
}

async function remove() {
  if (draft?.shape === "ground") { await clearGround(); return; }
  const zone = zones.get(draft?.uid);
  if (!zone) return;
  if (!confirm(word(zone.starves ? "sure_starve" : "sure_delete", { name: zone.name, sequences: zone.starves }))) return;
  const body = tokens();
  body.set("zone", zone.uid);
  try {
    await post(bench.dataset.delete, body);
    // Rules may have been switched off with it.
    if (zone.rules) { location.reload(); return; }
    zones.delete(zone.uid);
    leave();
    showList();
    tell(word("deleted"));
  } catch (error) { complain(error.sentence ?? word("failed")); }
}

function lineOf(zone) {
  const item = document.createElement("li");
  const button = Object.assign(document.createElement("button"), { type: "button", className: "line" });
  button.dataset.zone = zone.uid;
  const name = Object.assign(document.createElement("b"), { textContent: zone.name });
  const about = Object.assign(document.createElement("span"), { className: "muted", textContent: word(zone.shape) });
  button.append(name, about);
  item.append(button);
  if (!zone.rules) {
    item.append(Object.assign(document.createElement("a"), {
      className: "quiet-link", href: `${bench.dataset.addRule}?zone=${zone.uid}`, textContent: word("make_rule"),
    }));
  }
  return item;
}

function showList() {
  list.replaceChildren(...[...zones.values()].map(lineOf));
  document.getElementById("no-zones").hidden = zones.size > 0;
  const addRule = document.getElementById("add-rule");
  addRule.classList.toggle("is-disabled", !zones.size);
  if (zones.size) { addRule.href = bench.dataset.addRule; addRule.removeAttribute("aria-disabled"); }
}

// --- the picture ----------------------------------------------------------------------------------------------------

function place() {
  if (picture.naturalWidth) canvas.style.setProperty("--ratio", `${picture.naturalWidth} / ${picture.naturalHeight}`);
  fit();
}

async function newPicture(button) {
  const answer = await tryInto(document.getElementById("tried"), bench.dataset.try, tokens(), button);
  if (answer?.querySelector("img")) picture.src = `${bench.dataset.snapshot}?t=${Date.now()}`;
  const note = document.getElementById("canvas-note");
  note.textContent = answer?.querySelector("[role=alert]")?.textContent ?? "";
  note.hidden = !note.textContent || Boolean(picture.getAttribute("src"));
}

/** Shows or hides, under the zones, the tracks of the last hour. */
async function walked(button) {
  const under = document.getElementById("walked");
  const on = button.getAttribute("aria-pressed") !== "true";
  under.replaceChildren();
  button.setAttribute("aria-pressed", String(on));
  if (!on) return;
  button.disabled = true;
  try {
    const tracks = JSON.parse(await fetchText(bench.dataset.walked) ?? "{}");
    for (const [who, lines] of Object.entries(tracks)) {
      for (const line of lines) make("polyline", { class: who, points: line.map((point) => point.join(",")).join(" ") }, under);
    }
    if (!under.children.length) tell(word("walked_none"));
  } catch {
    button.setAttribute("aria-pressed", "false");
    tell(word("failed"));
  } finally { button.disabled = false; }
}

picture.addEventListener("load", place);
if (picture.complete) place();
new ResizeObserver(fit).observe(canvas);

const DOES = {
  undo: () => step(true), redo: () => step(false), corner: removeCorner, save, cancel: leave, delete: remove, calibrate,
  turn: () => change(() => draft.points.reverse()), picture: newPicture, try: newPicture, walked,
};

bench.addEventListener("click", (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.tool === "ground") calibrate();
  else if (button.dataset.tool) begin(button.dataset.tool);
  else if (button.dataset.do) DOES[button.dataset.do]?.(button);
  else if (button.dataset.zone) choose(button.dataset.zone);
});

for (const field of lengths) field.addEventListener("input", () => { complain(""); show(); });

addEventListener("beforeunload", (event) => { if (draft && history.past.length) event.preventDefault(); });

if (bench.dataset.empty === "1") newPicture(bench.querySelector("[data-do=picture]"));
if (bench.dataset.chosen) choose(bench.dataset.chosen);
show();
