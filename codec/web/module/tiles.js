// Networks on large pictures: in tiles with margins, with the same result as for the whole picture.

const LARGEST = 144; // Latent positions a side that are processed whole.
const TILE = 96; // Latent positions a side of a tile, without its margin.
const PRIOR_TILE = 48; // Positions of z.
const PRIOR_MARGIN = 2;
const STRIDE = 16;

/** @typedef {{ start: number, stop: number, first: number, last: number }} Span sees first..last, keeps start..stop */

/** @param {number} length @param {number} margin @param {number} tile @returns {Span[]} */
export function spans(length, margin, tile) {
  const count = Math.ceil(length / tile);
  const edges = Array.from({ length: count + 1 }, (_, k) => Math.floor((length * k) / count));
  const window = Math.min(length, Math.ceil(length / count) + 2 * margin);
  return Array.from({ length: count }, (_, k) => {
    const first = Math.min(Math.max(0, edges[k] - margin), length - window);
    return { start: edges[k], stop: edges[k + 1], first, last: first + window };
  });
}

/** The part of [rows, cols, channels] that a tile sees; `unit` positions for each of the span's. */
function seen(array, cols, row, col, unit, channels) {
  const wide = (col.last - col.first) * unit * channels;
  const out = new array.constructor((row.last - row.first) * unit * wide);
  for (let i = row.first * unit, at = 0; i < row.last * unit; i++, at += wide) {
    const from = (i * cols + col.first * unit) * channels;
    out.set(array.subarray(from, from + wide), at);
  }
  return out;
}

/** Writes the part that a tile keeps. */
function keep(out, cols, tile, row, col, unit, channels) {
  const tileCols = (col.last - col.first) * unit;
  for (let i = row.start * unit; i < row.stop * unit; i++) {
    const from = ((i - row.first * unit) * tileCols + (col.start - col.first) * unit) * channels;
    const count = (col.stop - col.start) * unit * channels;
    out.set(tile.subarray(from, from + count), (i * cols + col.start * unit) * channels);
  }
}

/** @typedef {import("./learned.js").Model} Model */

/**
 * The same model for pictures of any size.
 * @param {Model} model
 * @param {number} margin of the synthesis, in latent positions
 * @returns {Model}
 */
export function tiled(model, margin) {
  const channelsOf = (layer) => model.layers[layer].stop - model.layers[layer].start;
  return {
    ...model,

    async features(layer, z, a, b, qp) {
      const whole = 4 * Math.max(a, b) <= LARGEST ? await model.features(layer, z, a, b, qp) : null;
      return { whole, z, a, b, qp };
    },

    async step(layer, step, features, sets) {
      const { whole, z, a, b, qp } = features;
      if (whole) return model.step(layer, step, whole, sets);
      const channels = channelsOf(layer);
      const mean = new Float32Array(4 * a * b * channels);
      const index = new Uint8Array(mean.length);
      for (const row of spans(a, PRIOR_MARGIN, PRIOR_TILE)) {
        for (const col of spans(b, PRIOR_MARGIN, PRIOR_TILE)) {
          const part = seen(z, b, row, col, 1, z.length / (a * b));
          const field = seen(qp, 4 * b, row, col, 4, 1);
          const start = await model.features(layer, part, row.last - row.first, col.last - col.first, field);
          const before = sets.map((set) => seen(set, 2 * b, row, col, 2, set.length / (4 * a * b)));
          const tile = await model.step(layer, step, start, before);
          keep(mean, 2 * b, tile.mean, row, col, 2, channels);
          keep(index, 2 * b, tile.index, row, col, 2, channels);
        }
      }
      return { mean, index };
    },

    async synthesis(y, rows, cols, qp) {
      if (Math.max(rows, cols) <= LARGEST) return model.synthesis(y, rows, cols, qp);
      const out = new Uint8Array(3 * STRIDE * STRIDE * rows * cols);
      const channels = y.length / (rows * cols);
      for (const row of spans(rows, margin, TILE)) {
        for (const col of spans(cols, margin, TILE)) {
          const part = seen(y, cols, row, col, 1, channels);
          const field = seen(qp, cols, row, col, 1, 1);
          const tile = await model.synthesis(part, row.last - row.first, col.last - col.first, field);
          keep(out, STRIDE * cols, tile, row, col, STRIDE, 3);
        }
      }
      return out;
    },
  };
}
