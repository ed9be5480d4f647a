// Values of the latent grid as colours: the QP map and the bits (colours of codec/io/heatmap.py).

const ANCHORS = [[26, 24, 84], [28, 74, 134], [20, 126, 142], [62, 172, 118], [164, 208, 78], [255, 234, 92]];

/** @param {number} share 0..1 @returns {number[]} red, green, blue */
export function colourOf(share) {
  const place = share * (ANCHORS.length - 1);
  const low = Math.min(ANCHORS.length - 2, Math.floor(place));
  return ANCHORS[low].map((value, i) => Math.round(value + (ANCHORS[low + 1][i] - value) * (place - low)));
}

/** @param {ArrayLike<number>} values @returns {[number, number]} the smallest and the largest */
export function rangeOf(values) {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    low = Math.min(low, values[i]);
    high = Math.max(high, values[i]);
  }
  return [low, high];
}

/**
 * One pixel for each value.
 * @param {ArrayLike<number>} values @param {number} cols @param {number} power of the scale, 1/2 for bits
 * @returns {ImageData}
 */
export function coloured(values, cols, power = 1) {
  const [low, high] = rangeOf(values).map((value) => value ** power);
  const out = new ImageData(cols, values.length / cols);
  for (let i = 0; i < values.length; i++) {
    const share = high > low ? (values[i] ** power - low) / (high - low) : 0.5;
    out.data.set([...colourOf(share), 255], 4 * i);
  }
  return out;
}

/** Dark where tokens are dropped. @param {Set<number>} kept @param {number} grid a side */
export function shaded(kept, grid) {
  const out = new ImageData(grid, grid);
  for (let i = 0; i < grid * grid; i++) if (!kept.has(i)) out.data.set([16, 19, 24, 225], 4 * i);
  return out;
}
