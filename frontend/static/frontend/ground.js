// Metres on the picture: where a grid on the ground lies, from four corners and two lengths. Pure, no page in here.
// The same homography as alerts/ground.py, the other way round.

const FARTHEST = 4; // times the distance of the farthest corner, as alerts/ground.py measures
const MOST_LINES = 64; // in each direction; more are a grey area
const STEPS = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500];

/** What takes (u, v) of the unit square to the quadrilateral `points`. Source: Heckbert 1989, section 2.2.3. */
function squareTo([[x0, y0], [x1, y1], [x2, y2], [x3, y3]]) {
  const sx = x0 - x1 + x2 - x3, sy = y0 - y1 + y2 - y3;
  const dx1 = x1 - x2, dy1 = y1 - y2, dx2 = x3 - x2, dy2 = y3 - y2;
  const det = dx1 * dy2 - dx2 * dy1;
  const g = (sx * dy2 - dx2 * sy) / det, h = (dx1 * sy - sx * dy1) / det;
  return [[x1 - x0 + g * x1, x3 - x0 + h * x3, x0], [y1 - y0 + g * y1, y3 - y0 + h * y3, y0], [g, h, 1]];
}

const along = ([a, b, c], u, v) => a * u + b * v + c;

/** Whether the ring `points` turns the same way at each of its corners. */
function isConvex(points) {
  const turns = points.map(([x, y], index) => {
    const [[nx, ny], [mx, my]] = [points[(index + 1) % 4], points[(index + 2) % 4]];
    return (nx - x) * (my - ny) - (ny - y) * (mx - nx);
  });
  return turns.every((turn) => turn > 0) || turns.every((turn) => turn < 0);
}

/** Why these corners are no rectangle on the ground: the name of a sentence, or null. */
export function problemOfGround(points) {
  if (points.length !== 4) return "four_corners";
  return isConvex(points) ? null : "no_rectangle";
}

/** The finest step, in metres, that draws no more lines than can be told apart. */
export function stepOf(width, depth) {
  return STEPS.find((step) => 3 * Math.max(width, depth) / step <= MOST_LINES) ?? STEPS.at(-1);
}

/** The part of the straight line (u, v) → (s, t) that can be measured, as two points of the picture; null: none of it. */
function cut(matrix, [u, v], [s, t], far) {
  const w0 = along(matrix[2], u, v), w1 = along(matrix[2], s, t);
  // w grows with the distance: from near 0 at the camera to `far`.
  const [low, high] = [far / 1000, far];
  let [from, to] = [0, 1];
  for (const [bound, sign] of [[low, 1], [high, -1]]) {
    const a = sign * (w0 - bound), b = sign * (w1 - bound);
    if (a < 0 && b < 0) return null;
    const where = a / (a - b);
    if (a < 0) from = Math.max(from, where);
    if (b < 0) to = Math.min(to, where);
  }
  if (from >= to) return null;
  return [from, to].map((part) => {
    const [p, q] = [u + part * (s - u), v + part * (t - v)];
    const w = along(matrix[2], p, q);
    return [along(matrix[0], p, q) / w, along(matrix[1], p, q) / w];
  });
}

/** Lines of a grid in metres, the rectangle itself and as much again around it: [{ line: [[x, y], [x, y]], inner }]. */
export function gridOf(points, width, depth) {
  const matrix = squareTo(points);
  const far = FARTHEST * Math.max(...[[0, 0], [1, 0], [1, 1], [0, 1]].map(([u, v]) => along(matrix[2], u, v)));
  const step = stepOf(width, depth);
  const lines = [];
  for (const [size, place] of [[width, (at, end) => [at, end]], [depth, (at, end) => [end, at]]]) {
    for (let metres = -Math.floor(size / step) * step; metres <= 2 * size; metres += step) {
      const at = metres / size;
      const line = cut(matrix, place(at, -1), place(at, 2), far);
      if (line) lines.push({ line, inner: at >= 0 && at <= 1 });
    }
  }
  return lines;
}
