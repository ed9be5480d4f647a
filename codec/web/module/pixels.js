// Rectangles of RGBA pictures.

/**
 * @typedef {object} Box
 * @property {number} left
 * @property {number} top
 * @property {number} width
 * @property {number} height
 */

/** @param {Box} a @param {Box} b @returns {boolean} whether they share a pixel */
export function overlap(a, b) {
  return a.left < b.left + b.width && b.left < a.left + a.width && a.top < b.top + b.height && b.top < a.top + a.height;
}

/** @param {Box[]} boxes @returns {boolean} whether two of them share a pixel */
export const anyOverlap = (boxes) => boxes.some((one, place) => boxes.slice(0, place).some((two) => overlap(one, two)));

/**
 * Copies the colours of a rectangle; alpha stays as it is.
 * @param {Uint8ClampedArray} to RGBA of `width` columns
 * @param {number} width
 * @param {Box} box in `to`
 * @param {Uint8ClampedArray} from RGBA
 * @param {number} fromWidth
 * @param {number} left in `from`
 * @param {number} top in `from`
 */
export function paste(to, width, box, from, fromWidth, left = 0, top = 0) {
  for (let y = 0; y < box.height; y++) {
    let at = 4 * ((box.top + y) * width + box.left);
    let source = 4 * ((top + y) * fromWidth + left);
    for (let x = 0; x < box.width; x++, at += 4, source += 4) {
      to[at] = from[source];
      to[at + 1] = from[source + 1];
      to[at + 2] = from[source + 2];
    }
  }
}

/** Grey as Pillow computes it (ITU-R 601), in place. @param {Uint8ClampedArray} rgba */
export function toGrey(rgba) {
  for (let i = 0; i < rgba.length; i += 4) {
    const grey = (rgba[i] * 19595 + rgba[i + 1] * 38470 + rgba[i + 2] * 7471 + 0x8000) >> 16;
    rgba[i] = rgba[i + 1] = rgba[i + 2] = grey;
  }
}

/** Means of 8x8 pixels. @param {ImageData} picture @returns {ImageData} sides are divided by 8, rounded up */
export function reduced(picture) {
  const { data, width, height } = picture;
  const columns = Math.ceil(width / 8);
  const rows = Math.ceil(height / 8);
  const sums = new Uint32Array(4 * columns * rows);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const cell = 4 * ((y >> 3) * columns + (x >> 3));
      for (let channel = 0; channel < 4; channel++) sums[cell + channel] += data[at++];
    }
  }
  const out = new ImageData(columns, rows);
  for (let i = 0; i < sums.length; i++) {
    const cell = i >> 2;
    const across = Math.min(8, width - 8 * (cell % columns));
    const down = Math.min(8, height - 8 * Math.floor(cell / columns));
    out.data[i] = Math.round(sums[i] / (across * down));
  }
  return out;
}
