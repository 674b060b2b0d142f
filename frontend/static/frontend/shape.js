// Zones as points in fractions of the picture: pure, no page in here.

const EDGE = 0.012; // this near to the picture's edge a corner means the edge

/** A fraction of the picture, never outside it; what is all but at the edge is at the edge. */
export function inside(value) {
  if (value < EDGE) return 0;
  if (value > 1 - EDGE) return 1;
  return Math.round(value * 10000) / 10000;
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
