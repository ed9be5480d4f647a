// Files to pictures, by any tool.
import { CtmError, corrupt } from "./bytes.js";
import {
  CHANGES, LEARNED, LIMIT_PIXELS, MIXED, PALETTE, REASONS, TOOLS,
  alphaOf, isGrey, profileOf, readBeginning, readFile, readHeader, sectionsOf,
} from "./container.js";
import { Latents, STRIDE, firstStack, readPayload, stacksOf } from "./learned.js";
import { Shown, applyChanges, readChanges } from "./messages.js";
import { modelOf } from "./networks.js";
import { reduced, toGrey } from "./pixels.js";
import { decodeAlpha } from "./png.js";
import { toSrgb } from "./profile.js";
import { decodeMixed, decodeScreen, readMixed } from "./screens.js";

/**
 * @typedef {object} Options
 * @property {number} [limitPixels] larger pictures are refused
 * @property {boolean} [wantBits] count the bits of every latent position
 * @property {boolean} [wantLatents] give y_hat back
 * @property {boolean} [toSrgb] apply the file's colour profile; otherwise the samples are as stored
 * @property {(preview: ImageData) => void} [onPreview] called with a small picture, once
 */

/**
 * @typedef {object} Decoded
 * @property {ImageData} picture
 * @property {string} tool
 * @property {string} reason why the encoder chose it
 * @property {number} quality 0..100 of tools without QPs
 * @property {string} model name of the weights, or an empty string
 * @property {string} fingerprint of the weights
 * @property {string} checksum of the file
 * @property {Record<string, number>} sections bytes by name
 * @property {number} rows of the latent grid
 * @property {number} cols of the latent grid
 * @property {Uint8Array | null} qp rows x cols
 * @property {Float32Array | null} bits rows x cols
 * @property {boolean} bitsEstimated whether the bits are only estimated from the picture's detail
 * @property {import("./pixels.js").Box[]} regions photographs within the picture
 * @property {Float32Array | null} yHat rows x cols x channels
 * @property {Record<string, number>} milliseconds
 */

/** Decodes one learned payload within another. @type {import("./screens.js").Photographs} */
async function photographs(fingerprint, payload, width, height) {
  const { qp, map, latents } = readPayload(payload);
  const model = await modelOf(fingerprint);
  const found = new Latents(model, width, height, qp, map);
  await decodeLayers(found, latents);
  return found.pixels(found.yHat());
}

/** @param {Latents} found @param {Uint8Array} data */
async function decodeLayers(found, data) {
  found.check(data.length);
  for (const stack of stacksOf(data, found.model.layers.length).slice(found.layers)) await found.decodeLayer(stack);
}

/**
 * Decodes a whole file.
 * @param {Uint8Array} data
 * @param {Options} [options]
 * @returns {Promise<Decoded>}
 */
export async function decodeFull(data, options = {}) {
  const begun = performance.now();
  const file = readFile(data, options.limitPixels ?? LIMIT_PIXELS);
  const out = described(file);
  const { width, height } = file;
  if (file.tool === LEARNED) await decodeLearned(file, options, out);
  else await decodeTool(file, options, out);
  const alpha = alphaOf(file);
  const rgba = out.picture.data;
  if (isGrey(file)) toGrey(rgba);
  if (alpha) {
    const samples = await decodeAlpha(alpha, width, height);
    for (let i = 0; i < samples.length; i++) rgba[4 * i + 3] = samples[i];
  }
  const icc = options.toSrgb && profileOf(file);
  if (icc) out.picture = await toSrgb(out.picture, icc);
  out.milliseconds.all = performance.now() - begun;
  return out;
}

/** @param {import("./container.js").Header & import("./container.js").Sections} file @returns {Decoded} */
function described(file) {
  return {
    picture: /** @type {any} */ (null), tool: TOOLS[file.tool] ?? `tool ${file.tool}`,
    reason: file.tool ? REASONS[file.reason] ?? "" : "", quality: file.quality, model: "",
    fingerprint: file.fingerprint, checksum: file.checksum, sections: sectionsOf(file),
    rows: Math.ceil(file.height / STRIDE), cols: Math.ceil(file.width / STRIDE),
    qp: null, bits: null, bitsEstimated: false, regions: [], yHat: null, milliseconds: {},
  };
}

/** @param {Decoded} out */
async function decodeLearned(file, options, out) {
  const begun = performance.now();
  const model = await modelOf(file.fingerprint);
  out.milliseconds.model = performance.now() - begun;
  const found = new Latents(model, file.width, file.height, file.qp, file.map, options.wantBits);
  found.check(file.payload.length);
  const stacks = stacksOf(file.payload, model.layers.length);
  await found.decodeLayer(stacks[0]);
  if (options.onPreview && stacks.length > 1) {
    options.onPreview(await found.preview());
    out.milliseconds.preview = performance.now() - begun;
  }
  for (const stack of stacks.slice(1)) await found.decodeLayer(stack);
  out.milliseconds.latents = performance.now() - begun;
  const y = found.yHat();
  out.picture = new ImageData(await found.pixels(y), file.width, file.height);
  out.model = model.name;
  out.qp = found.qp;
  out.bits = found.totalBits();
  if (options.wantLatents) out.yHat = y;
}

/** @param {Decoded} out */
async function decodeTool(file, options, out) {
  const { width, height, payload } = file;
  if (file.tool === CHANGES) {
    const { follows } = readChanges(payload, width, height);
    throw new CtmError("MissingReference", `the file holds what changed since file ${follows}: decode that one first`);
  }
  const spent = options.wantBits && file.tool === PALETTE ? new Float32Array(width * height) : null;
  let rgba;
  if (file.tool === MIXED) {
    const mixed = readMixed(payload, width, height);
    rgba = await decodeMixed(mixed, file, photographs);
    out.regions = mixed.regions.map(({ left, top, width: w, height: h }) => ({ left, top, width: w, height: h }));
    out.fingerprint = mixed.fingerprint;
  } else {
    rgba = await decodeScreen(file.tool, payload, width, height, file.channels, spent);
  }
  out.picture = new ImageData(rgba, width, height);
  if (!options.wantBits) return;
  out.bitsEstimated = !spent;
  out.bits = inCells(spent ?? detail(rgba, width), width, out.rows, out.cols);
  if (spent) return;
  const sum = out.bits.reduce((total, bits) => total + bits, 0);
  for (let i = 0; i < out.bits.length; i++) out.bits[i] *= (8 * payload.length) / sum;
}

/** Sums over 16x16 pixels. */
function inCells(values, width, rows, cols) {
  const out = new Float32Array(rows * cols);
  for (let i = 0; i < values.length; i++) {
    const x = i % width;
    out[Math.floor((i - x) / width / STRIDE) * cols + Math.floor(x / STRIDE)] += values[i];
  }
  return out;
}

/** How much each pixel differs from those to the left and above: where a coder spends its bits. */
function detail(rgba, width) {
  const out = new Float32Array(rgba.length / 4);
  for (let i = 0; i < out.length; i++) {
    const left = i % width ? 4 * (i - 1) + 1 : 4 * i + 1;
    const up = i >= width ? 4 * (i - width) + 1 : 4 * i + 1;
    const green = rgba[4 * i + 1];
    out[i] = 0.1 + Math.sqrt(Math.min(Math.abs(green - rgba[left]), 64) + Math.min(Math.abs(green - rgba[up]), 64));
  }
  return out;
}

/**
 * Decodes a picture at 1/8 of the width and height. Of a learned file the beginning is enough; the
 * checksum is then not checked.
 * @param {Uint8Array} data a file or its beginning
 * @param {Options} [options]
 * @returns {Promise<ImageData | null>} null if too little is there
 */
export async function decodePreview(data, options = {}) {
  const header = readHeader(data, options.limitPixels ?? LIMIT_PIXELS);
  const whole = data.length >= header.size + header.map + header.payload + header.extras;
  if (header.tool !== LEARNED) return whole ? reduced((await decodeFull(data, options)).picture) : null;
  const file = whole ? readFile(data, options.limitPixels ?? LIMIT_PIXELS) : readBeginning(data, header);
  const stack = file && firstStack(file.payload);
  if (!file || !stack) return null;
  const model = await modelOf(file.fingerprint);
  if (model.layers.length < 2) return whole ? reduced((await decodeFull(data, options)).picture) : null;
  const found = new Latents(model, file.width, file.height, file.qp, file.map);
  found.check(header.payload);
  found.check(stack.length);
  await found.decodeLayer(stack);
  const preview = await found.preview();
  if (isGrey(file)) toGrey(preview.data);
  return preview;
}

const MOST_KEPT = 8;
const MOST_KEPT_PIXELS = 2 ** 25;

/** The receiving end of a stream of screenshots: whole pictures, and messages that change them. */
export class StreamDecoder {
  /** @param {Options} [options] */
  constructor(options = {}) {
    this.options = options;
    /** The last pictures by the checksum of their files. @type {Map<string, Decoded>} */
    this.kept = new Map();
    this.last = "";
    /** Rectangles that a later message may show again. */
    this.shown = new Shown();
  }

  /** The picture after a file. @param {Uint8Array} data @returns {Promise<ImageData>} */
  async decode(data) {
    const file = readFile(data, this.options.limitPixels ?? LIMIT_PIXELS);
    const changes = file.tool === CHANGES ? readChanges(file.payload, file.width, file.height) : null;
    // A copy, so that a damaged message changes nothing.
    const parts = new Shown(changes ? [...this.shown.parts] : []);
    const decoded = changes ? await this.changed(file, changes, parts) : await decodeFull(data, this.options);
    if (changes?.forgets) this.kept.delete(changes.reference);
    this.keep(file, decoded);
    this.shown = parts;
    this.last = file.checksum;
    return decoded.picture;
  }

  async changed(file, changes, parts) {
    const before = this.kept.get(changes.reference);
    if (this.last !== changes.follows || !before) {
      const needed = before ? changes.follows : changes.reference;
      throw new CtmError("MissingReference", `message ${changes.number} of the stream needs file ${needed}`);
    }
    const { width, height } = before.picture;
    if (width !== file.width || height !== file.height) throw corrupt("the message builds on a picture of another size");
    const rgba = await applyChanges(before.picture.data, width, changes, parts, photographs);
    return { ...before, picture: new ImageData(rgba, width, height) };
  }

  keep(file, shown) {
    const [first] = this.kept.values();
    const { width, height } = shown.picture;
    if (first && (first.picture.width !== width || first.picture.height !== height)) this.kept.clear();
    this.kept.delete(file.checksum);
    this.kept.set(file.checksum, shown);
    const most = Math.max(1, Math.min(MOST_KEPT, Math.floor(MOST_KEPT_PIXELS / (width * height))));
    for (const name of this.kept.keys()) if (this.kept.size > most) this.kept.delete(name);
  }
}
