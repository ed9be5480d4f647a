// Payloads of the screen tools, and of pictures with photographs in them.
import { decodeAv1 } from "./av1.js";
import { CtmError, Reader, corrupt, hex, within } from "./bytes.js";
import { AV1, PALETTE } from "./container.js";
import { anyOverlap, paste } from "./pixels.js";
import { decodePalette } from "./vp8l.js";

const UNIT = 8;
const MOST_REGIONS = 16;

/** @typedef {import("./pixels.js").Box} Box */
/** @typedef {(fingerprint: string, payload: Uint8Array, width: number, height: number) => Promise<Uint8ClampedArray>} Photographs decodes a payload of the learned tool to RGBA */

/**
 * Decodes the payload of a tool that needs no network.
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
