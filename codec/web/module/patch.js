// Tiny pictures of few colours: questions answered by the neighbours, and a binary range coder.
import { corrupt } from "./bytes.js";

const MOST_PIXELS = 4096;
const MOST_COLOURS = 64;
const BOTTOM = 2 ** 24;
const BELOW = 64; // First context of the third question.

class Answers {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.at = 4;
    this.range = 2 ** 32;
    this.code = 0;
    for (let i = 0; i < 4; i++) this.code = this.code * 256 + (data[i] ?? 0);
    this.counts = new Uint8Array(2 * (BELOW + MOST_COLOURS)).fill(1);
  }

  /** @param {number} context @returns {number} 0 or 1 */
  next(context) {
    const counts = this.counts;
    const zero = 2 * context;
    const bound = Math.floor((this.range * counts[zero]) / (counts[zero] + counts[zero + 1]));
    const answer = this.code >= bound ? 1 : 0;
    if (answer) {
      this.code -= bound;
      this.range -= bound;
    } else {
      this.range = bound;
    }
    while (this.range < BOTTOM) {
      this.code = this.code * 256 + (this.data[this.at++] ?? 0);
      this.range *= 256;
    }
    counts[zero + answer] += 2;
    if (counts[zero] + counts[zero + 1] > 254) {
      counts[zero] = (counts[zero] + 1) >> 1;
      counts[zero + 1] = (counts[zero + 1] + 1) >> 1;
    }
    return answer;
  }
}

/**
 * @param {Uint8Array} payload
 * @param {number} width
 * @param {number} height
 * @returns {Uint8ClampedArray} RGBA
 */
export function decodePatch(payload, width, height) {
  if (!payload.length || width * height > MOST_PIXELS) throw corrupt("a patch of the picture is malformed");
  const count = (payload[0] & 127) + 1;
  const samples = payload[0] & 128 ? 1 : 3;
  const colours = payload.subarray(1, 1 + samples * count);
  const data = payload.subarray(1 + samples * count);
  if (count > MOST_COLOURS || colours.length !== samples * count) throw corrupt("a patch of the picture ends too early");
  // A border of index 0: two columns to the left, one to the right, one row above.
  const stride = width + 3;
  const indexes = new Uint8Array(stride * (height + 1));
  let read = 0;
  if (count > 1) {
    const answers = new Answers(data);
    const bits = 32 - Math.clz32(count - 1);
    for (let y = 1; y <= height; y++) {
      for (let x = 2; x < width + 2; x++) {
        indexes[y * stride + x] = nextIndex(answers, indexes, y * stride + x, stride, bits);
      }
    }
    read = answers.at;
  }
  if (data.length > read) throw corrupt("bytes follow a patch of the picture");
  const out = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at += 4) {
      const index = indexes[(y + 1) * stride + x + 2];
      if (index >= count) throw corrupt("a patch of the picture names a colour that it lacks");
      for (let channel = 0; channel < 3; channel++) out[at + channel] = colours[samples * index + (channel % samples)];
    }
  }
  return out;
}

/** @param {Answers} answers @param {Uint8Array} indexes @param {number} at @param {number} stride @param {number} bits */
function nextIndex(answers, indexes, at, stride, bits) {
  const left = indexes[at - 1];
  const up = indexes[at - stride];
  const corner = indexes[at - stride - 1];
  const right = indexes[at - stride + 1];
  const first = up === corner ? left : up;
  let second = up === corner ? up : left;
  const state =
    Number(left === up) | (Number(up === corner) << 1) | (Number(left === corner) << 2) |
    (Number(up === right) << 3) | (Number(left === indexes[at - 2]) << 4);
  if (answers.next(state)) return first;
  if (second === first) second = right;
  if (second !== first && answers.next(32 + state)) return second;
  let node = 1;
  for (let bit = 0; bit < bits; bit++) node = 2 * node + answers.next(BELOW + node);
  return node - 2 ** bits;
}
