// Zones as points in fractions of the picture: pure, no page in here.

import { problemOfGround } from "./ground.js";

/** A fraction of the picture, never outside it. */
export function inside(value) {
  return Math.round(Math.min(1, Math.max(0, value)) * 10000) / 10000;
}

/** Where a point that comes near something lies: on the nearest of `corners` ([{ point, name }]), else on the picture's
 *  edge. `near` is how many of the page's pixels that is, of a picture of `width` × `height` of them.
 *  { point, on: "corner" | "edge" | null, name } */
export function snap([x, y], corners, near, width, height) {
  let best = null;
  for (const { point, name } of corners) {
    const apart = Math.hypot((point[0] - x) * width, (point[1] - y) * height);
    if (apart <= near && apart < (best?.apart ?? Infinity)) best = { point, name, apart };
  }
  if (best) return { point: [...best.point], on: "corner", name: best.name };
  const edge = (value, size) => (value * size <= near ? 0 : (1 - value) * size <= near ? 1 : inside(value));
  const point = [edge(x, width), edge(y, height)];
  const moved = point[0] !== inside(x) || point[1] !== inside(y);
  return { point, on: moved ? "edge" : null, name: "" };
}

function side([ax, ay], [bx, by], [cx, cy]) {
  return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax);
}

function crossing([a, b], [c, d]) {
  return side(a, b, c) * side(a, b, d) < 0 && side(c, d, a) * side(c, d, b) < 0;
}

/** Whether two edges of the closed ring `points` cross. */
export function crossesItself(points) {
  const edges = points.map((point, index) => [point, points[(index + 1) % points.length]]);
  return edges.some((one, i) => edges.some((other, j) => j > i && crossing(one, other)));
}

/** Why `points` are no zone of this shape: the name of a sentence, or null. */
export function problemOf(shape, points) {
  if (shape === "ground") return problemOfGround(points);
  if (shape === "line") return points.length === 2 ? null : "one_end";
  if (points.length < 3) return "too_few";
  return crossesItself(points) ? "crossing" : null;
}

/** The arrow that stands on a directed line: from its middle to the side that counts. Lengths in pixels of the page.
 *  Someone who crosses from the left of (begin → end) to its right goes forward, as seen on the screen. */
export function arrowOf([[ax, ay], [bx, by]], width, height) {
  const dx = (bx - ax) * width, dy = (by - ay) * height;
  const length = Math.hypot(dx, dy) || 1;
  const reach = Math.min(48, Math.max(24, length / 4));
  const middle = [(ax + bx) / 2 * width, (ay + by) / 2 * height];
  return [middle, [middle[0] - dy / length * reach, middle[1] + dx / length * reach]];
}

/** Undo and redo of whole states. */
export class History {
  constructor() { this.clear(); }

  clear() { this.past = []; this.future = []; }

  /** Remembers `state` as it was before a change. */
  keep(state) {
    this.past.push(JSON.stringify(state));
    this.future = [];
  }

  undo(now) {
    if (!this.past.length) return null;
    this.future.push(JSON.stringify(now));
    return JSON.parse(this.past.pop());
  }

  redo(now) {
    if (!this.future.length) return null;
    this.past.push(JSON.stringify(now));
    return JSON.parse(this.future.pop());
  }
}
