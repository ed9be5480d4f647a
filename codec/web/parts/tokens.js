// Which of a vision tower's tokens a budget keeps, by the bits at their places
// (codec/tokens/selection.py).

const QP_WEIGHT = 0.05;
const LEAST_BITS = 1e-3;
const STRIDE = 16;

/** How equal intervals from 0 to `end` cover unit intervals. @returns {number[][]} [count][size] */
function coverage(size, count, end) {
  return Array.from({ length: count }, (_, k) => {
    const from = (end * k) / count;
    const to = (end * (k + 1)) / count;
    const shares = Array.from({ length: size }, (_, i) => Math.max(0, Math.min(to, i + 1) - Math.max(from, i)));
    return shares.map((share) => (share * count) / end);
  });
}

/** Values of the latent grid on a grid of tokens. */
function pooled(values, cols, down, across) {
  return down.flatMap((rows) => {
    const line = new Float64Array(cols);
    rows.forEach((share, i) => {
      if (share) for (let j = 0; j < cols; j++) line[j] += share * values[i * cols + j];
    });
    return across.map((shares) => shares.reduce((sum, share, j) => sum + share * line[j], 0));
  });
}

/**
 * @param {import("../module/decode.js").Decoded} decoded with its bits
 * @param {number} budget the share of tokens to keep, above 0 and at most 1
 * @param {number} grid tokens a side
 * @returns {Set<number>} row * grid + column of the kept tokens
 */
export function keptTokens({ bits, qp, rows, cols, picture }, budget, grid = 24) {
  const down = coverage(rows, grid, picture.height / STRIDE);
  const across = coverage(cols, grid, picture.width / STRIDE);
  const field = Float64Array.from(qp ?? new Uint8Array(bits.length));
  const mean = field.reduce((sum, value) => sum + value, 0) / field.length;
  const finer = pooled(field.map((value) => value - mean), cols, down, across);
  const information = pooled(bits, cols, down, across).map((b, i) => (b + LEAST_BITS) * Math.exp(QP_WEIGHT * finer[i]));
  const kept = new Set();
  divide(information, grid, [0, 0, grid, grid], Math.max(1, Math.round(budget * grid * grid)), kept);
  return kept;
}

/** Gives a part's tokens to its quarters by their information. */
function divide(information, grid, part, tokens, kept) {
  const [top, left, bottom, right] = part;
  const cells = [];
  for (let row = top; row < bottom; row++) for (let col = left; col < right; col++) cells.push(row * grid + col);
  if (tokens === 1 || cells.length === 1) {
    kept.add(cells.reduce((best, cell) => (information[cell] > information[best] ? cell : best), cells[0]));
    return;
  }
  const row = (top + bottom + 1) >> 1;
  const col = (left + right + 1) >> 1;
  const quarters = [[top, left, row, col], [top, col, row, right], [row, left, bottom, col], [row, col, bottom, right]];
  const sums = quarters.map(([t, l, b, r]) => {
    let sum = 0;
    for (let i = t; i < b; i++) for (let j = l; j < r; j++) sum += information[i * grid + j];
    return sum;
  });
  const room = quarters.map(([t, l, b, r]) => (b - t) * (r - l));
  shared(sums, room, tokens).forEach((count, i) => {
    if (count) divide(information, grid, quarters[i], count, kept);
  });
}

/** The largest-remainder method; no part gets more than it has room for. */
function shared(sums, room, tokens) {
  const shares = [0, 0, 0, 0];
  for (let left = tokens; left > 0; ) {
    const quota = sums.map((sum, i) => (shares[i] < room[i] ? Math.max(sum, 1e-12) : 0));
    const total = Math.max(quota.reduce((a, b) => a + b), 1e-12);
    const remainders = quota.map((value, i) => {
      const part = (value * left) / total;
      const whole = Math.min(Math.floor(part), room[i] - shares[i]);
      shares[i] += whole;
      return { i, whole, rest: shares[i] < room[i] ? part - whole : -1 };
    });
    left -= remainders.reduce((sum, one) => sum + one.whole, 0);
    remainders.sort((a, b) => b.rest - a.rest);
    for (const { i } of remainders.slice(0, left)) {
      if (shares[i] < room[i]) {
        shares[i]++;
        left--;
      }
    }
  }
  return shares;
}
