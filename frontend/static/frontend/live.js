// Live pictures: one socket for all cameras of a page. Pictures and boxes meet here by session and sequence.

import { say } from "./dom.js";
import { now_ms } from "./times.js";
import { Socket } from "./socket.js";

const HOLD_MS = 350; // a picture waits so long for its own boxes: analysing takes about half of it
const LINGER_MS = 900; // boxes stay on pictures that were not analysed, so that they do not flicker
const QUIET_MS = 4000; // no analysed picture for so long: the gate is closed
const GONE_MS = 5000;
const MAX_CAMERAS = 64; // the server refuses a wish for more (frontend/messages.py)

function nameOf(item) {
  return `${item.session}/${item.sequence}`;
}

/** One camera's picture on a canvas. `element` carries what is shown as data attributes. */
export class Tile {
  constructor(element, canvas, onSay) {
    Object.assign(this, { element, canvas, onSay, held: [], boxes: new Map(), shown: null, drawn: null });
    this.pictures = 0;
    this.watched = true;
    this.crowded = false;
    this.begin();
  }

  /** From now on pictures are expected: an older one on the canvas counts for nothing. */
  begin() {
    this.boxed_ms = this.started_ms = performance.now();
    this.shown_ms = null;
  }

  /** Whether this camera is among those that the server was asked for; `crowded`: it is not, though it can be seen. */
  setWatched(watched, crowded) {
    if (watched && !this.watched) this.begin();
    Object.assign(this, { watched, crowded });
    this.look();
  }

  picture(header, jpeg) {
    const item = { ...header, jpeg, came_ms: performance.now() };
    this.held.push(item);
    if (this.boxes.has(nameOf(item))) this.show(item);
    else setTimeout(() => { if (this.held.includes(item)) this.show(item); }, HOLD_MS);
    if (this.held.length > 4) this.show(this.held[0]);
  }

  box(message) {
    this.boxes.set(nameOf(message), message);
    this.boxed_ms = performance.now();
    if (this.boxes.size > 30) this.boxes.delete(this.boxes.keys().next().value);
    const item = this.held.find((held) => nameOf(held) === nameOf(message));
    if (item) this.show(item);
    else if (this.shown && nameOf(this.shown) === nameOf(message)) this.draw();
  }

  async show(item) {
    this.held = this.held.slice(this.held.indexOf(item) + 1);
    try {
      item.bitmap = await createImageBitmap(new Blob([item.jpeg], { type: "image/jpeg" }));
    } catch { return; }
    const older = this.shown && this.shown.session === item.session && this.shown.sequence > item.sequence;
    if (older) { item.bitmap.close(); return; }
    this.shown?.bitmap.close();
    const first = this.shown_ms === null;
    this.shown = item;
    this.shown_ms = performance.now();
    this.pictures += 1;
    this.draw();
    if (first) this.look();
  }

  /** The boxes of this very picture, else the last ones of the same session while they are fresh. */
  boxesNow() {
    const own = this.boxes.get(nameOf(this.shown));
    if (own) return own;
    const last = [...this.boxes.values()].filter((message) => message.session === this.shown.session).pop();
    const age_ms = last ? Date.parse(this.shown.captured_at) - Date.parse(last.captured_at) : Infinity;
    return age_ms >= 0 && age_ms < LINGER_MS ? last : null;
  }

  draw() {
    const { bitmap } = this.shown;
    if (this.canvas.width !== bitmap.width || this.canvas.height !== bitmap.height) {
      this.canvas.width = bitmap.width;
      this.canvas.height = bitmap.height;
    }
    const context = this.canvas.getContext("2d");
    context.drawImage(bitmap, 0, 0);
    const found = this.boxesNow();
    for (const box of found?.boxes ?? []) this.drawBox(context, box);
    this.mark(found);
  }

  drawBox(context, { xyxy: [x1, y1, x2, y2], hot }) {
    const { width, height } = this.canvas;
    context.lineWidth = Math.max(1.5, width / (hot ? 320 : 480));
    context.strokeStyle = hot ? "#ff5a52" : "rgb(230 233 236 / .85)";
    context.strokeRect(x1 * width, y1 * height, (x2 - x1) * width, (y2 - y1) * height);
  }

  mark(found) {
    const data = this.element.dataset;
    data.capturedAt = this.shown.captured_at;
    data.session = this.shown.session;
    data.sequence = this.shown.sequence;
    data.pictures = this.pictures;
    data.boxes = JSON.stringify(found?.boxes ?? []);
    data.boxesSession = found?.session ?? "";
    data.boxesSequence = found?.sequence ?? "";
    this.element.classList.toggle("hot", (found?.boxes ?? []).some((box) => box.hot));
  }

  /** Once a second: how this tile is, in words. */
  look() {
    if (!this.watched) { this.onSay(this.crowded ? say("too_many", { n: MAX_CAMERAS }) : ""); return; }
    const now = performance.now();
    if (this.shown_ms === null) { this.onSay(now - this.started_ms > GONE_MS ? say("no_picture", { n: Math.floor((now - this.started_ms) / 1000) }) : say("waiting_picture")); return; }
    const silent_ms = now - this.shown_ms;
    if (silent_ms > GONE_MS) this.onSay(say("no_picture", { n: Math.floor(silent_ms / 1000) }));
    else if (now - this.boxed_ms > QUIET_MS && document.querySelector(".reading")?.dataset.watching === "1") this.onSay(say("quiet"));
    else {
      const age_s = Math.round((now_ms() - Date.parse(this.shown.captured_at)) / 1000);
      this.onSay(age_s > 2 ? say("seen", { n: age_s }) : "");
    }
  }
}

/** All tiles of a page over one socket; of those in `seen`, where it is given, only as many as the server allows. */
export class Wall {
  constructor(tiles, seen = null) {
    Object.assign(this, { tiles, seen });
    this.socket = new Socket("/ws/wall/", {
      onUp: () => this.watch(),
      onText: (message) => { if (message.type === "boxes") this.tiles.get(message.camera)?.box(message); },
      onBinary: (data) => this.binary(data),
    });
    setInterval(() => { for (const tile of this.tiles.values()) tile.look(); }, 1000);
  }

  watch() {
    const wanted = [...this.tiles.keys()].filter((uid) => !this.seen || this.seen.has(uid));
    const cameras = wanted.slice(0, MAX_CAMERAS);
    for (const [uid, tile] of this.tiles) tile.setWatched(cameras.includes(uid), wanted.includes(uid));
    this.socket.send({ type: "watch", cameras });
  }

  binary(data) {
    const length = new DataView(data).getUint32(0);
    const header = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    this.tiles.get(header.camera)?.picture(header, new Uint8Array(data, 4 + length));
  }
}

let shared = null;

/** The live picture over an incident's evidence, on demand. */
export class LiveStage {
  constructor(stage) {
    this.stage = stage;
    this.canvas = document.createElement("canvas");
    this.note = document.createElement("span");
    this.note.className = "live-note num";
    stage.prepend(this.canvas);
    stage.append(this.note);
    stage.classList.add("is-live");
    this.tile = new Tile(stage, this.canvas, (words) => { this.note.textContent = words; this.note.hidden = !words; });
    shared ??= new Wall(new Map());
    shared.tiles.set(stage.dataset.camera, this.tile);
    shared.watch();
    this.tile.look();
  }

  stop() {
    shared.tiles.delete(this.stage.dataset.camera);
    shared.watch();
    this.canvas.remove();
    this.note.remove();
    this.stage.classList.remove("is-live", "hot");
  }
}
