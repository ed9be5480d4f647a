// Payloads of the screen tools, of pictures with photographs in them, and of messages of a stream.
import { decodeAv1 } from "./av1.js";
import { CtmError, Reader, corrupt, hex, within } from "./bytes.js";
import { AV1, PALETTE } from "./container.js";
import { decodePatch } from "./patch.js";
import { anyOverlap, paste } from "./pixels.js";
import { decodePalette } from "./vp8l.js";

const UNIT = 8;
const MOST_REGIONS = 16;
const MOST_COPIES = 8;
const MOST_RECTANGLES = 256;
const MOST_PATCH = 4096;
const MOST_PATCHED = 65536;
const PATCH = 0;
const PHOTOGRAPH = 3;

/** @typedef {import("./pixels.js").Box} Box */
/** @typedef {(fingerprint: string, payload: Uint8Array, width: number, height: number) => Promise<Uint8ClampedArray>} Photographs decodes a payload of the learned tool to RGBA */

/**
 * The picture of a tool that needs no network.
 * @param {number} tool
 * @param {Uint8Array} payload
 * @param {number} width
 * @param {number} height
 * @param {number} channels 1, 3 or 4
 * @param {Float32Array | null} spent where the palette tool writes the bits of each pixel
 * @returns {Promise<Uint8ClampedArray>} RGBA
 */
export async function decodeScreen(tool, payload, width, height, channels = 3, spent = null) {
  if (tool === AV1) return decodeAv1(payload, width, height);
  if (tool === PALETTE) return decodePalette(payload, width, height, channels, spent);
  throw new CtmError("UnsupportedVersion", `the file was coded by tool ${tool}, which this viewer does not have`);
}

/**
 * @typedef {object} Mixed a picture with photographs in it
 * @property {number} base the tool of the rest
 * @property {string} fingerprint of the weights of the photographs
 * @property {Uint8Array} payload of the rest
 * @property {(Box & { payload: Uint8Array })[]} regions
 */

/** @param {Uint8Array} payload @param {number} width @param {number} height @returns {Mixed} */
export function readMixed(payload, width, height) {
  const reader = new Reader(payload);
  return within("the mixed payload ends too early", () => {
    const base = reader.byte();
    const fingerprint = hex(reader.take(4));
    const inner = reader.take(reader.varint());
    if (base === 3) throw corrupt("a mixed payload holds another one");
    const count = reader.varint();
    if (count > MOST_REGIONS) throw corrupt(`a picture has ${count} regions`);
    const regions = Array.from({ length: count }, () => readRegion(reader, width, height));
    if (reader.left) throw corrupt("bytes follow the list of regions");
    if (anyOverlap(regions)) throw corrupt("two regions of the picture overlap");
    return { base, fingerprint, payload: inner, regions };
  });
}

/** @param {Reader} reader */
function readRegion(reader, width, height) {
  const [left, top, columns, rows] = Array.from({ length: 4 }, () => reader.varint() * UNIT);
  const payload = reader.take(reader.varint());
  const inside = left < width && top < height && columns && rows;
  if (!inside || left + columns >= width + UNIT || top + rows >= height + UNIT || !payload.length) {
    throw corrupt("a region of the picture is malformed");
  }
  return { left, top, width: Math.min(columns, width - left), height: Math.min(rows, height - top), payload };
}

/**
 * @param {Mixed} mixed
 * @param {import("./container.js").Header} file
 * @param {Photographs} photographs
 * @returns {Promise<Uint8ClampedArray>} RGBA
 */
export async function decodeMixed(mixed, file, photographs) {
  const out = await decodeScreen(mixed.base, mixed.payload, file.width, file.height, file.channels);
  for (const region of mixed.regions) {
    const pixels = await photographs(mixed.fingerprint, region.payload, region.width, region.height);
    paste(out, file.width, region, pixels, region.width);
  }
  return out;
}

/**
 * @typedef {object} Changes a message of a stream
 * @property {number} number of the message since the last whole picture
 * @property {boolean} forgets whether the picture that it builds on is not kept
 * @property {string} follows checksum of the file before
 * @property {string} reference checksum of the file whose picture it builds on
 * @property {(Box & { fromLeft: number, fromTop: number })[]} copies
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
    const copies = Array.from({ length: count(reader, MOST_COPIES) }, () => readCopy(reader, width, height));
    const rectangles = Array.from({ length: count(reader, MOST_RECTANGLES) }, () => readRectangle(reader, width, height));
    if (reader.left || head < 4 || (bits & 2 && reference === follows)) throw corrupt("the message is malformed");
    return { number: Math.floor(head / 4), forgets: (bits & 1) > 0, follows, reference, copies, rectangles };
  });
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

function count(reader, most) {
  const value = reader.varint();
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

function readCopy(reader, width, height) {
  const box = readBox(reader, width, height);
  const fromLeft = box.left + reader.signed();
  const fromTop = box.top + reader.signed();
  if (fromLeft < 0 || fromTop < 0 || fromLeft + box.width > width || fromTop + box.height > height) {
    throw corrupt("the message copies from outside the picture");
  }
  return { ...box, fromLeft, fromTop };
}

function readRectangle(reader, width, height) {
  const box = readBox(reader, width, height);
  const tool = reader.byte();
  const payload = reader.take(reader.varint());
  if (tool > PHOTOGRAPH) throw corrupt(`a rectangle of the message is coded by the unknown tool ${tool}`);
  return { ...box, tool, payload };
}

/**
 * The picture after a message.
 * @param {Uint8ClampedArray} before RGBA, the picture that the message builds on
 * @param {number} width
 * @param {Changes} changes
 * @param {Photographs} photographs
 * @returns {Promise<Uint8ClampedArray>} RGBA
 */
export async function applyChanges(before, width, changes, photographs) {
  const out = before.slice();
  for (const copy of changes.copies) paste(out, width, copy, before, width, copy.fromLeft, copy.fromTop);
  for (const one of changes.rectangles) {
    paste(out, width, one, await decodeRectangle(one, photographs), one.width);
  }
  return out;
}

function decodeRectangle(one, photographs) {
  if (one.tool === PATCH) return decodePatch(one.payload, one.width, one.height);
  if (one.tool === PHOTOGRAPH) {
    return photographs(hex(one.payload.subarray(0, 4)), one.payload.subarray(4), one.width, one.height);
  }
  return decodeScreen(one.tool, one.payload, one.width, one.height);
}
