// The learned tool: rANS and the integer prior give y_hat, the synthesis gives pixels.
import { Reader, corrupt, within } from "./bytes.js";
import { qpField } from "./qp_map.js";
import { Decoder } from "./rans.js";

export const STRIDE = 16; // Pixels of a latent position, along a side.
const CELL = 4; // Latent positions of a position of z, along a side.
const STEPS = 4;
const SCALES = 64; // Tables of y's scales; those of z's channels follow.
const Z_LIMIT = 31;
const PREVIEW = 8;
const CODER_BITS = 128;
/** Where step s has channel c: at POSITIONS[s xor (c mod 4)] of each 2x2 cell. */
const POSITIONS = [[0, 0], [1, 1], [0, 1], [1, 0]];

/**
 * @typedef {object} Model
 * @property {import("./rans.js").Tables} tables
 * @property {{ start: number, stop: number }[]} layers of y's channels
 * @property {number} skipBelow the smallest scale index that is coded
 * @property {(layer: number, z: Float32Array, a: number, b: number, qp: Uint8Array) => Promise<any>} features
 * @property {(layer: number, step: number, features: any, sets: Float32Array[]) => Promise<{ mean: Float32Array, index: Uint8Array }>} step
 * @property {(y: Float32Array, rows: number, cols: number, qp: Uint8Array) => Promise<Uint8Array>} synthesis RGB
 * @property {(y: Float32Array, rows: number, cols: number, qp: Uint8Array) => Promise<Uint8Array>} preview RGB
 */

/** The latents of one picture, decoded layer by layer. */
export class Latents {
  /**
   * @param {Model} model
   * @param {number} width in pixels
   * @param {number} height
   * @param {number} qp base QP
   * @param {Uint8Array | null} map the coded QP map
   * @param {boolean} wantBits
   */
  constructor(model, width, height, qp, map, wantBits = false) {
    this.model = model;
    this.width = width;
    this.height = height;
    this.rows = Math.ceil(height / STRIDE);
    this.cols = Math.ceil(width / STRIDE);
    this.a = Math.ceil(this.rows / CELL);
    this.b = Math.ceil(this.cols / CELL);
    this.qp = qpField(qp, map, this.rows, this.cols);
    this.padded = this.toWholeCells(this.qp);
    this.z = new Float32Array(0);
    /** y_hat of the steps, [2a, 2b, channels] each. @type {Float32Array[]} */
    this.sets = [];
    /** Bits of the latent positions, extended to whole cells. */
    this.bits = wantBits ? new Float32Array(16 * this.a * this.b) : null;
    this.zBits = new Float32Array(wantBits ? this.a * this.b : 0);
  }

  get layers() {
    return this.sets.length / STEPS;
  }

  /** QPs with the last row and column repeated. @param {Uint8Array} field */
  toWholeCells(field) {
    const wide = CELL * this.b;
    const out = new Uint8Array(CELL * this.a * wide);
    for (let i = 0; i < CELL * this.a; i++) {
      const row = Math.min(i, this.rows - 1) * this.cols;
      for (let j = 0; j < wide; j++) out[i * wide + j] = field[row + Math.min(j, this.cols - 1)];
    }
    return out;
  }

  /** Throws if the latents are too short for the cheapest z. @param {number} bytes their length */
  check(bytes) {
    const least = this.model.tables.costs.slice(SCALES).reduce((sum, costs) => sum + Math.min(...costs), 0);
    if (8 * bytes + CODER_BITS < this.a * this.b * least) {
      throw corrupt(`the file is too short for a picture of ${this.width}x${this.height} pixels`);
    }
  }

  /** Decodes the next layer. @param {Uint8Array} data its stack */
  async decodeLayer(data) {
    const { model } = this;
    const layer = this.layers;
    const decoder = new Decoder(model.tables, data);
    if (!layer) this.popZ(decoder);
    const features = await model.features(layer, this.z, this.a, this.b, this.padded);
    const sets = this.sets.slice();
    for (let step = 0; step < STEPS; step++) {
      const { mean, index } = await model.step(layer, step, features, sets);
      this.popStep(decoder, step, mean, index);
      sets.push(mean);
    }
    decoder.finish();
    this.sets = sets;
  }

  /** @param {Decoder} decoder */
  popZ(decoder) {
    const channels = this.model.tables.count - SCALES;
    const ids = new Uint8Array(this.a * this.b * channels);
    for (let i = 0; i < ids.length; i++) ids[i] = SCALES + (i % channels);
    const symbols = decoder.pop(ids);
    this.z = Float32Array.from(symbols, (symbol) => Math.min(Z_LIMIT, Math.max(-Z_LIMIT, symbol)));
    if (this.bits) {
      symbols.forEach((symbol, i) => (this.zBits[Math.floor(i / channels)] += this.model.tables.bits(symbol, ids[i])));
    }
  }

  /** Pops a step's symbols and adds them to its means, which become y_hat. */
  popStep(decoder, step, mean, index) {
    const wide = 2 * this.b;
    const channels = mean.length / (2 * this.a * wide);
    const where = new Uint32Array(mean.length);
    const ids = new Uint8Array(mean.length);
    let count = 0;
    for (let i = 0, at = 0; i < 2 * this.a; i++) {
      for (let j = 0; j < wide; j++) {
        const inside = [0, 1, 2, 3].map((group) => {
          const [down, right] = POSITIONS[step ^ group];
          return 2 * i + down < this.rows && 2 * j + right < this.cols;
        });
        for (let c = 0; c < channels; c++, at++) {
          if (index[at] >= this.model.skipBelow && inside[c & 3]) {
            where[count] = at;
            ids[count++] = index[at];
          }
        }
      }
    }
    const symbols = decoder.pop(ids.subarray(0, count));
    for (let i = 0; i < count; i++) mean[where[i]] += symbols[i];
    if (!this.bits) return;
    for (let i = 0; i < count; i++) {
      const cell = Math.floor(where[i] / channels);
      const [down, right] = POSITIONS[step ^ ((where[i] % channels) & 3)];
      const row = 2 * Math.floor(cell / wide) + down;
      this.bits[row * 2 * wide + 2 * (cell % wide) + right] += this.model.tables.bits(symbols[i], ids[i]);
    }
  }

  /** y_hat of the layers decoded so far. @returns {Float32Array} [rows, cols, channels] */
  yHat() {
    const { rows, cols } = this;
    const wide = 2 * this.b;
    const channels = this.model.layers[this.layers - 1].stop;
    const out = new Float32Array(rows * cols * channels);
    this.sets.forEach((set, number) => {
      const step = number % STEPS;
      const { start, stop } = this.model.layers[Math.floor(number / STEPS)];
      const count = stop - start;
      for (let group = 0; group < 4; group++) {
        const [down, right] = POSITIONS[step ^ group];
        for (let row = down; row < rows; row += 2) {
          for (let col = right; col < cols; col += 2) {
            const from = ((row >> 1) * wide + (col >> 1)) * count;
            const to = (row * cols + col) * channels + start;
            for (let c = group; c < count; c += 4) out[to + c] = set[from + c];
          }
        }
      }
    });
    return out;
  }

  /** Bits of every latent position, those of z shared by the positions below it. */
  totalBits() {
    if (!this.bits) return null;
    const out = new Float32Array(this.rows * this.cols);
    let shown = 0;
    for (let i = 0; i < out.length; i++) shown += this.zBits[this.cellOf(i)];
    const spent = this.zBits.reduce((sum, bits) => sum + bits, 0);
    const share = spent / Math.max(shown, 1e-9);
    for (let i = 0; i < out.length; i++) {
      const place = Math.floor(i / this.cols) * CELL * this.b + (i % this.cols);
      out[i] = this.bits[place] + this.zBits[this.cellOf(i)] * share;
    }
    return out;
  }

  /** @param {number} i a latent position @returns {number} its position of z */
  cellOf(i) {
    return Math.floor(i / this.cols / CELL) * this.b + Math.floor((i % this.cols) / CELL);
  }

  /** The preview, from the first layer. @returns {Promise<ImageData>} */
  async preview() {
    const y = this.yHat();
    const rgb = await this.model.preview(y, this.rows, this.cols, this.qp);
    const sides = [this.width, this.height].map((side) => Math.ceil(side / PREVIEW));
    return new ImageData(cropped(rgb, 2 * this.cols, sides[0], sides[1]), sides[0], sides[1]);
  }

  /** The picture. @param {Float32Array} y @returns {Promise<Uint8ClampedArray>} RGBA */
  async pixels(y) {
    const rgb = await this.model.synthesis(y, this.rows, this.cols, this.qp);
    return cropped(rgb, STRIDE * this.cols, this.width, this.height);
  }
}

/** RGB of `stride` columns to RGBA of a smaller picture. */
function cropped(rgb, stride, width, height) {
  const out = new Uint8ClampedArray(4 * width * height);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0, from = 3 * y * stride; x < width; x++, at += 4, from += 3) {
      out[at] = rgb[from];
      out[at + 1] = rgb[from + 1];
      out[at + 2] = rgb[from + 2];
      out[at + 3] = 255;
    }
  }
  return out;
}

/**
 * The stacks of the layers. @param {Uint8Array} data the latents @param {number} count of layers
 * @returns {Uint8Array[]}
 */
export function stacksOf(data, count) {
  const reader = new Reader(data);
  return within("a layer of the latents is longer than the space it is in", () => {
    const parts = Array.from({ length: count - 1 }, () => reader.take(reader.varint()));
    return [...parts, reader.rest()];
  });
}

/** The first layer of latents whose end is missing; null if it is not complete. @param {Uint8Array} data */
export function firstStack(data) {
  try {
    const reader = new Reader(data);
    return reader.take(reader.varint());
  } catch {
    return null;
  }
}

/**
 * A payload of the learned tool within another one. @param {Uint8Array} payload
 * @returns {{ qp: number, map: Uint8Array | null, latents: Uint8Array }}
 */
export function readPayload(payload) {
  const reader = new Reader(payload);
  return within("the learned tool's payload ends too early", () => {
    const flags = reader.byte();
    return { qp: flags & 63, map: flags & 64 ? reader.take(reader.varint()) : null, latents: reader.rest() };
  });
}
