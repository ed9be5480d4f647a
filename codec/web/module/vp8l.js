// Lossless WebP (VP8L, RFC 9649) without its container, as the palette tool writes it.
import { corrupt } from "./bytes.js";

const MAX_SIDE = 16383;
const BLACK = 0xff000000 | 0;
const LENGTH_CODES = 24;
const ROOT_BITS = 9;
const LENGTH_ORDER = [17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
// Of the 120 shortest distances: (rows up) * 16 + 8 - (columns to the left).
const NEAR = Uint8Array.from(
  ("1807171928062729161a262a38053739151b363a252b48044749141c353b464a242c58454b343c035759131d565a232d" +
    "444c555b333d68026769121e666a222e545c434d656b323e78017779535d111f646c424e767a212f757b313f636d525e" +
    "00747c414f1020626e30737d515f40727e616f50717f6070").match(/../g) ?? [],
  (pair) => parseInt(pair, 16),
);

/** Bits of a payload, the lowest of a byte first; zeros beyond the end. */
class Bits {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = new Uint8Array(data.length + 8);
    this.data.set(data);
    this.length = data.length;
    this.at = 0;
    this.bits = 0;
    this.count = 0;
  }

  /** At least 16 bits are in `bits` afterwards. */
  fill() {
    while (this.count <= 16) {
      this.bits |= (this.at < this.data.length ? this.data[this.at] : 0) << this.count;
      this.at++;
      this.count += 8;
    }
  }

  /** @param {number} count 0..24 @returns {number} */
  take(count) {
    if (count > 16) return this.take(16) | (this.take(count - 16) << 16);
    this.fill();
    const value = this.bits & ((1 << count) - 1);
    this.bits >>>= count;
    this.count -= count;
    return value;
  }

  /** Throws if more bits were taken than there are. */
  check() {
    if (8 * this.at - this.count > 8 * this.length) throw corrupt("the palette part of the file ends too early");
  }
}

/** A prefix code: short codes by table, longer ones bit by bit. */
class Code {
  /** @param {Uint8Array} lengths of the codes of all symbols, 0 for those without one */
  constructor(lengths) {
    const counts = new Uint16Array(16);
    for (const length of lengths) counts[length]++;
    counts[0] = 0;
    const used = counts.reduce((sum, count) => sum + count);
    this.symbols = new Uint16Array(used);
    const places = new Uint16Array(17);
    for (let length = 1; length < 16; length++) places[length + 1] = places[length] + counts[length];
    lengths.forEach((length, symbol) => {
      if (length) this.symbols[places[length]++] = symbol;
    });
    this.counts = counts;
    this.root = used === 1 ? Uint16Array.of(this.symbols[0] << 4) : this.table(used);
    this.mask = this.root.length - 1;
  }

  /** Entries symbol * 16 + length by the next bits; 0xffff for longer codes. @param {number} used */
  table(used) {
    let room = 1;
    let longest = 0;
    for (let length = 1; length < 16; length++) {
      room = 2 * room - this.counts[length];
      if (room < 0) break;
      if (this.counts[length]) longest = length;
    }
    if (room || !used) throw corrupt("the palette part of the file has an impossible prefix code");
    const bits = Math.min(ROOT_BITS, longest);
    const root = new Uint16Array(1 << bits).fill(0xffff);
    let code = 0;
    let place = 0;
    for (let length = 1; length <= bits; length++, code <<= 1) {
      for (let i = 0; i < this.counts[length]; i++, code++, place++) {
        let reversed = 0;
        for (let bit = 0; bit < length; bit++) reversed |= ((code >> bit) & 1) << (length - 1 - bit);
        const entry = (this.symbols[place] << 4) | length;
        for (let at = reversed; at < root.length; at += 1 << length) root[at] = entry;
      }
    }
    return root;
  }

  /** @param {Bits} bits @returns {number} the next symbol */
  next(bits) {
    if (bits.count < 16) bits.fill();
    const entry = this.root[bits.bits & this.mask];
    if (entry === 0xffff) return this.long(bits);
    bits.bits >>>= entry & 15;
    bits.count -= entry & 15;
    return entry >> 4;
  }

  /** @param {Bits} bits */
  long(bits) {
    let code = 0;
    let first = 0;
    let place = 0;
    for (let length = 1; length < 16; length++) {
      code |= bits.take(1);
      const count = this.counts[length];
      if (code - first < count) return this.symbols[place + code - first];
      place += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    throw corrupt("the palette part of the file has an impossible prefix code");
  }
}

/** @param {Bits} bits @param {number} alphabet @returns {Code} */
function readCode(bits, alphabet) {
  const lengths = new Uint8Array(alphabet);
  const put = (symbol) => {
    if (symbol < alphabet) lengths[symbol] = 1;
  };
  if (bits.take(1)) {
    const two = bits.take(1);
    put(bits.take(bits.take(1) ? 8 : 1));
    if (two) put(bits.take(8));
    return new Code(lengths);
  }
  const ofLengths = new Uint8Array(19);
  const count = bits.take(4) + 4;
  for (let i = 0; i < count; i++) ofLengths[LENGTH_ORDER[i]] = bits.take(3);
  const code = new Code(ofLengths);
  let left = bits.take(1) ? 2 + bits.take(2 + 2 * bits.take(3)) : alphabet;
  if (left > alphabet) throw corrupt("the palette part of the file has an impossible prefix code");
  let before = 8;
  for (let symbol = 0; symbol < alphabet && left; left--) {
    const length = code.next(bits);
    if (length < 16) {
      lengths[symbol++] = length;
      before = length || before;
      continue;
    }
    const repeat = length === 16 ? 3 + bits.take(2) : length === 17 ? 3 + bits.take(3) : 11 + bits.take(7);
    if (symbol + repeat > alphabet) throw corrupt("the palette part of the file has an impossible prefix code");
    lengths.fill(length === 16 ? before : 0, symbol, symbol + repeat);
    symbol += repeat;
  }
  bits.check();
  return new Code(lengths);
}

/** @param {number} side @param {number} bits @returns {number} blocks of 2^bits that cover a side */
const blocks = (side, bits) => (side + (1 << bits) - 1) >> bits;

/** A length or distance from its prefix symbol. @param {Bits} bits @param {number} symbol */
function extended(bits, symbol) {
  if (symbol < 4) return symbol + 1;
  const extra = (symbol - 2) >> 1;
  return ((2 + (symbol & 1)) << extra) + bits.take(extra) + 1;
}

/**
 * An entropy-coded image.
 * @param {Bits} bits
 * @param {number} width
 * @param {number} height
 * @param {boolean} main whether it may have several groups of codes
 * @param {Float32Array | null} spent where the bits of each pixel are written
 * @returns {Int32Array} ARGB
 */
function readImage(bits, width, height, main, spent = null) {
  const cacheBits = bits.take(1) ? bits.take(4) : 0;
  if (cacheBits > 11) throw corrupt("the palette part of the file has an impossible cache");
  let groupBits = 0;
  /** @type {Int32Array | null} */
  let groupOf = null;
  let count = 1;
  if (main && bits.take(1)) {
    groupBits = bits.take(3) + 2;
    groupOf = readImage(bits, blocks(width, groupBits), blocks(height, groupBits), false);
    for (let i = 0; i < groupOf.length; i++) {
      groupOf[i] = (groupOf[i] >> 8) & 0xffff;
      count = Math.max(count, groupOf[i] + 1);
    }
  }
  const cacheSize = cacheBits ? 1 << cacheBits : 0;
  const green = 256 + LENGTH_CODES + cacheSize;
  const groups = Array.from({ length: count }, () => [green, 256, 256, 256, 40].map((size) => readCode(bits, size)));
  const cache = new Int32Array(cacheSize);
  const shift = 32 - cacheBits;
  const out = new Int32Array(width * height);
  const across = blocks(width, groupBits);
  const mask = groupOf ? (1 << groupBits) - 1 : -1;
  let [greens, reds, blues, alphas, distances] = groups[0];
  let x = 0;
  let y = 0;
  for (let at = 0; at < out.length; ) {
    if (groupOf && !(x & mask)) {
      [greens, reds, blues, alphas, distances] = groups[groupOf[(y >> groupBits) * across + (x >> groupBits)]];
    }
    const begun = spent ? 8 * bits.at - bits.count : 0;
    const symbol = greens.next(bits);
    let run = 1;
    if (symbol < 256) {
      const red = reds.next(bits);
      const blue = blues.next(bits);
      out[at] = (alphas.next(bits) << 24) | (red << 16) | (symbol << 8) | blue;
      if (cacheSize) cache[Math.imul(0x1e35a7bd, out[at]) >>> shift] = out[at];
    } else if (symbol >= 256 + LENGTH_CODES) {
      out[at] = cache[symbol - 256 - LENGTH_CODES];
      cache[Math.imul(0x1e35a7bd, out[at]) >>> shift] = out[at];
    } else {
      run = extended(bits, symbol - 256);
      const code = extended(bits, distances.next(bits));
      const near = code > 120 ? 0 : NEAR[code - 1];
      const distance = code > 120 ? code - 120 : Math.max(1, (near >> 4) * width + 8 - (near & 15));
      if (distance > at || at + run > out.length) throw corrupt("the palette part of the file copies from outside");
      for (let i = at; i < at + run; i++) {
        out[i] = out[i - distance];
        if (cacheSize) cache[Math.imul(0x1e35a7bd, out[i]) >>> shift] = out[i];
      }
    }
    if (spent) spent.fill((8 * bits.at - bits.count - begun) / run, at, at + run);
    at += run;
    x += run;
    if (x >= width) {
      bits.check();
      y += Math.floor(x / width);
      x %= width;
      // A run may end inside a block of another group.
    }
    if (groupOf && run > 1 && x & mask && at < out.length) {
      [greens, reds, blues, alphas, distances] = groups[groupOf[(y >> groupBits) * across + (x >> groupBits)]];
    }
  }
  bits.check();
  return out;
}

const averaged = (a, b) => (((a ^ b) & 0xfefefefe) >>> 1) + (a & b);
const clipped = (value) => (value < 0 ? 0 : value > 255 ? 255 : value);
const added = (a, b) =>
  ((((a & 0xff00ff00) >>> 0) + ((b & 0xff00ff00) >>> 0)) & 0xff00ff00) | (((a & 0xff00ff) + (b & 0xff00ff)) & 0xff00ff);

/** The closer of two neighbours to the gradient. */
function selected(top, left, corner) {
  let sum = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    const c = (corner >>> shift) & 255;
    sum += Math.abs(((left >>> shift) & 255) - c) - Math.abs(((top >>> shift) & 255) - c);
  }
  return sum <= 0 ? top : left;
}

/** Each channel through `combine(a, b, c)`, clipped. */
function each(combine, a, b, c) {
  let out = 0;
  for (let shift = 0; shift < 32; shift += 8) {
    out |= clipped(combine((a >>> shift) & 255, (b >>> shift) & 255, (c >>> shift) & 255)) << shift;
  }
  return out;
}

const gradient = (a, b, c) => a + b - c;
const half = (a, b) => a + Math.trunc((a - b) / 2);

/** The prediction of a pixel inside the picture. @param {number} mode 0..15 */
function predicted(mode, out, i, width) {
  const left = out[i - 1];
  const top = out[i - width];
  const right = out[i - width + 1];
  const corner = out[i - width - 1];
  switch (mode) {
    case 1: return left;
    case 2: return top;
    case 3: return right;
    case 4: return corner;
    case 5: return averaged(averaged(left, right), top);
    case 6: return averaged(left, corner);
    case 7: return averaged(left, top);
    case 8: return averaged(corner, top);
    case 9: return averaged(top, right);
    case 10: return averaged(averaged(left, corner), averaged(top, right));
    case 11: return selected(top, left, corner);
    case 12: return each(gradient, left, top, corner);
    case 13: return each(half, averaged(left, top), corner, 0);
    default: return BLACK;
  }
}

/** @param {Int32Array} out @param {number} width @param {number} height */
function addPredictions(out, width, height, { data, bits }) {
  const across = blocks(width, bits);
  out[0] = added(out[0], BLACK);
  for (let x = 1; x < width; x++) out[x] = added(out[x], out[x - 1]);
  for (let y = 1; y < height; y++) {
    const row = y * width;
    out[row] = added(out[row], out[row - width]);
    for (let x = 1; x < width; x++) {
      const mode = (data[(y >> bits) * across + (x >> bits)] >> 8) & 15;
      out[row + x] = added(out[row + x], predicted(mode, out, row + x, width));
    }
  }
}

const delta = (factor, colour) => (((factor << 24) >> 24) * ((colour << 24) >> 24)) >> 5;

function addColours(out, width, height, { data, bits }) {
  const across = blocks(width, bits);
  for (let i = 0, y = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const factors = data[(y >> bits) * across + (x >> bits)];
      const pixel = out[i];
      const green = pixel >> 8;
      const red = ((pixel >> 16) + delta(factors, green)) & 255;
      const blue = (pixel + delta(factors >> 8, green) + delta(factors >> 16, red)) & 255;
      out[i] = (pixel & 0xff00ff00) | (red << 16) | blue;
    }
  }
}

function addGreen(out) {
  for (let i = 0; i < out.length; i++) {
    const green = (out[i] >> 8) & 255;
    out[i] = (out[i] & 0xff00ff00) | (((out[i] & 0xff00ff) + ((green << 16) | green)) & 0xff00ff);
  }
}

/** Indexes in the green channel, several in a pixel, to colours. */
function lookedUp(packed, width, height, { data, bits }) {
  const out = new Int32Array(width * height);
  const across = blocks(width, bits);
  const size = 8 >> bits;
  for (let i = 0, y = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const green = (packed[y * across + (x >> bits)] >> 8) & 255;
      out[i] = data[(green >> ((x & ((1 << bits) - 1)) * size)) & ((1 << size) - 1)];
    }
  }
  return out;
}

/** @param {Bits} bits @param {number} kind @param {number} width @param {number} height */
function readTransform(bits, kind, width, height) {
  if (kind === 2) return { kind, bits: 0, data: null };
  if (kind < 2) {
    const size = bits.take(3) + 2;
    return { kind, bits: size, data: readImage(bits, blocks(width, size), blocks(height, size), false) };
  }
  const count = bits.take(8) + 1;
  const size = count > 16 ? 0 : count > 4 ? 1 : count > 2 ? 2 : 3;
  const stored = readImage(bits, count, 1, false);
  for (let i = 1; i < count; i++) stored[i] = added(stored[i], stored[i - 1]);
  const data = new Int32Array(256); // Indexes beyond the table are transparent black.
  data.set(stored);
  return { kind, bits: size, data };
}

/**
 * @param {Uint8Array} payload
 * @param {number} width
 * @param {number} height
 * @param {number} channels 3 or 4; with 3 the picture is opaque
 * @param {Float32Array | null} spent of width x height, where the bits of each pixel are written
 * @returns {Uint8ClampedArray} RGBA
 */
export function decodePalette(payload, width, height, channels, spent = null) {
  if (Math.max(width, height) > MAX_SIDE || channels < 3) {
    throw corrupt(`lossless WebP has no pictures of ${width}x${height} pixels with ${channels} channels`);
  }
  const bits = new Bits(payload);
  const transforms = [];
  let coded = width;
  while (bits.take(1)) {
    const kind = bits.take(2);
    if (transforms.some((one) => one.kind === kind)) throw corrupt("the palette part of the file is malformed");
    transforms.push({ ...readTransform(bits, kind, coded, height), width: coded });
    if (kind === 3) coded = blocks(coded, transforms[transforms.length - 1].bits);
  }
  const places = spent && new Float32Array(coded * height);
  let out = readImage(bits, coded, height, true, places);
  if (spent) spread(spent, places, width, coded);
  for (const one of transforms.reverse()) {
    if (one.kind === 0) addPredictions(out, one.width, height, one);
    else if (one.kind === 1) addColours(out, one.width, height, one);
    else if (one.kind === 2) addGreen(out);
    else out = lookedUp(out, one.width, height, one);
  }
  const opaque = channels === 3 ? BLACK : 0;
  const rgba = new Int32Array(out.length);
  for (let i = 0; i < out.length; i++) {
    const pixel = out[i] | opaque;
    rgba[i] = (pixel & 0xff00ff00) | ((pixel >> 16) & 255) | ((pixel & 255) << 16);
  }
  return new Uint8ClampedArray(rgba.buffer);
}

/** Bits of coded pixels, shared by the pixels that each of them holds. */
function spread(spent, places, width, coded) {
  const bits = Math.ceil(Math.log2(width / coded));
  for (let i = 0; i < spent.length; i++) {
    const x = i % width;
    spent[i] = places[((i - x) / width) * coded + (x >> bits)] / (1 << bits);
  }
}
