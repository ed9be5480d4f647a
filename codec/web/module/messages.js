// Messages of a stream: copies of the picture before, then new rectangles over them.
import { Reader, corrupt, hex, within } from "./bytes.js";
import { decodePatch } from "./patch.js";
import { anyOverlap, paste } from "./pixels.js";
import { decodeScreen } from "./screens.js";

const MOST_COPIES = 32;
// Flag of the number of copies: tones follow each.
const TONED = 64;
// Limit on the pixels that all copies of a message write, in multiples of the picture's.
const MOST_COPIED = 8;
// The integer for a gain of 1, the largest gain and offset, and the flag of equal tones of all
// channels.
const ONE = 256;
const MOST_TONE = 1023;
const SAME_TONES = 8;
const MOST_RECTANGLES = 256;
const MOST_PATCH = 4096;
const MOST_PATCHED = 65536;
// Rectangles that are kept to be shown again: number, pixels together, bytes of the smallest payload.
const MOST_SHOWN = 64;
const MOST_SHOWN_PIXELS = 2 ** 22;
const LEAST_PAYLOAD = 16;
const PATCH = 0;
const PHOTOGRAPH = 3;
const AGAIN = 4;

/** @typedef {import("./pixels.js").Box} Box */

/**
 * @typedef {object} Changes a message of a stream
 * @property {number} number of the message since the last whole picture
 * @property {boolean} forgets whether the picture that it builds on is not kept
 * @property {string} follows checksum of the file before
 * @property {string} reference checksum of the file whose picture it builds on
 * @property {(Box & { fromLeft: number, fromTop: number, tones: Uint8Array[] | null })[]} copies
 * @property {(Box & { tool: number, payload: Uint8Array })[]} rectangles
 */

/** @param {Uint8Array} payload @param {number} width @param {number} height @returns {Changes} */
export function readChanges(payload, width, height) {
  const reader = new Reader(payload);
  const changes = within("the message ends too early", () => {
    const head = reader.varint();
    const bits = head % 4;
    const follows = hex(reader.take(4));
    const reference = bits & 2 ? hex(reader.take(4)) : follows;
    const copied = reader.varint();
    const toned = (copied & TONED) > 0;
    const length = limited(copied - (toned ? TONED : 0), MOST_COPIES);
    const copies = Array.from({ length }, () => readCopy(reader, width, height, toned));
    const rectangles = Array.from({ length: limited(reader.varint(), MOST_RECTANGLES) }, () => readRectangle(reader, width, height));
    if (reader.left || head < 4 || (bits & 2 && reference === follows)) throw corrupt("the message is malformed");
    return { number: Math.floor(head / 4), forgets: (bits & 1) > 0, follows, reference, copies, rectangles };
  });
  const area = changes.copies.reduce((sum, copy) => sum + copy.width * copy.height, 0);
  if (area > MOST_COPIED * width * height) throw corrupt("the message copies too many pixels");
  check(changes.rectangles);
  return changes;
}

/** @param {Changes["rectangles"]} rectangles */
function check(rectangles) {
  if (anyOverlap(rectangles)) throw corrupt("two rectangles of the message overlap");
  const patched = rectangles.filter((one) => one.tool === PATCH).map((one) => one.width * one.height);
  if (patched.some((area) => area > MOST_PATCH) || patched.reduce((sum, area) => sum + area, 0) > MOST_PATCHED) {
    throw corrupt("the message has too many pixels in patches");
  }
  const learned = rectangles.filter((one) => one.tool === PHOTOGRAPH).map((one) => one.payload);
  const weights = new Set(learned.map((payload) => hex(payload.subarray(0, 4))));
  if (weights.size > 1 || learned.some((payload) => payload.length <= 4)) {
    throw corrupt("the message needs the weights of two models, or names none");
  }
}

function limited(value, most) {
  if (value > most) throw corrupt(`the message has ${value} parts of a kind, more than ${most}`);
  return value;
}

/** @param {Reader} reader @returns {Box} */
function readBox(reader, width, height) {
  const [left, top, across, down] = Array.from({ length: 4 }, () => reader.varint());
  if (!across || !down || left + across > width || top + down > height) {
    throw corrupt("a part of the message lies outside the picture");
  }
  return { left, top, width: across, height: down };
}

function readCopy(reader, width, height, toned) {
  const box = readBox(reader, width, height);
  const fromLeft = box.left + reader.signed();
  const fromTop = box.top + reader.signed();
  if (fromLeft < 0 || fromTop < 0 || fromLeft + box.width > width || fromTop + box.height > height) {
    throw corrupt("the message copies from outside the picture");
  }
  return { ...box, fromLeft, fromTop, tones: toned ? readTones(reader) : null };
}

/** The new sample of each channel and sample. @param {Reader} reader @returns {Uint8Array[]} */
function readTones(reader) {
  const flags = reader.byte();
  if (flags > SAME_TONES) throw corrupt("a copy of the message has unknown tones");
  if (flags === SAME_TONES) return Array(3).fill(readTable(reader));
  return [1, 2, 4].map((flag) => (flags & flag ? readTable(reader) : tableOf(ONE, 0)));
}

function readTable(reader) {
  const gain = ONE + reader.signed();
  const offset = reader.signed();
  if (Math.max(Math.abs(gain), Math.abs(offset)) > MOST_TONE) {
    throw corrupt("a copy of the message has tones beyond what samples can be");
  }
  return tableOf(gain, offset);
}

function tableOf(gain, offset) {
  const level = (_, sample) => Math.floor((gain * sample + ONE * offset + ONE / 2) / ONE);
  return Uint8Array.from(Uint8ClampedArray.from({ length: 256 }, level));
}

function readRectangle(reader, width, height) {
  const box = readBox(reader, width, height);
  const tool = reader.byte();
  const payload = reader.take(reader.varint());
  if (tool > AGAIN) throw corrupt(`a rectangle of the message is coded by the unknown tool ${tool}`);
  return { ...box, tool, payload };
}

/** Copy a box with other tones; as pixels.paste. */
function pasteToned(to, width, copy, before) {
  for (let y = 0; y < copy.height; y++) {
    let at = 4 * ((copy.top + y) * width + copy.left);
    let source = 4 * ((copy.fromTop + y) * width + copy.fromLeft);
    for (let x = 0; x < copy.width; x++, at += 4, source += 4) {
      for (let channel = 0; channel < 3; channel++) {
        to[at + channel] = copy.tones[channel][before[source + channel]];
      }
    }
  }
}

/**
 * Rectangles that were sent before, the newest first; a message may show them again.
 */
export class Shown {
  /** @param {{ width: number, height: number, rgba: Uint8ClampedArray }[]} [parts] */
  constructor(parts = []) {
    this.parts = parts;
  }

  /** Keep what was decoded as the newest one, and forget the oldest. */
  add(one, rgba) {
    if (one.tool === PHOTOGRAPH || one.tool === AGAIN || one.payload.length < LEAST_PAYLOAD) return;
    this.parts.unshift({ width: one.width, height: one.height, rgba });
    let area = 0;
    const kept = this.parts.findIndex((part) => (area += part.width * part.height) > MOST_SHOWN_PIXELS);
    this.parts.length = Math.min(this.parts.length, MOST_SHOWN, kept < 0 ? MOST_SHOWN : kept);
  }

  /** The RGBA that a rectangle names. */
  at(one) {
    const reader = new Reader(one.payload);
    const part = this.parts[within("the message names no rectangle", () => reader.varint())];
    if (!part || reader.left) throw corrupt("the message shows a rectangle again that was not sent before");
    if (part.width !== one.width || part.height !== one.height) {
      throw corrupt("the message shows a rectangle again in another size");
    }
    return part.rgba;
  }
}

/**
 * The picture after a message.
 * @param {Uint8ClampedArray} before RGBA, the picture that the message builds on
 * @param {number} width
 * @param {Changes} changes
 * @param {Shown} shown rectangles that were sent before; those of the message are added
 * @param {import("./screens.js").Photographs} photographs
 * @returns {Promise<Uint8ClampedArray>} RGBA
 */
export async function applyChanges(before, width, changes, shown, photographs) {
  const out = before.slice();
  for (const copy of changes.copies) {
    if (copy.tones) pasteToned(out, width, copy, before);
    else paste(out, width, copy, before, width, copy.fromLeft, copy.fromTop);
  }
  for (const one of changes.rectangles) {
    const rgba = await decodeRectangle(one, shown, photographs);
    shown.add(one, rgba);
    paste(out, width, one, rgba, one.width);
  }
  return out;
}

function decodeRectangle(one, shown, photographs) {
  if (one.tool === AGAIN) return shown.at(one);
  if (one.tool === PATCH) return decodePatch(one.payload, one.width, one.height);
  if (one.tool === PHOTOGRAPH) {
    return photographs(hex(one.payload.subarray(0, 4)), one.payload.subarray(4), one.width, one.height);
  }
  return decodeScreen(one.tool, one.payload, one.width, one.height);
}
