// AV1 still pictures: the AVIF file is rebuilt and passed to the browser's own decoder.
import { CtmError, corrupt, joined } from "./bytes.js";

const MAX_SIDE = 32768;
const MAX_PIXELS = 16384 * 16384;
const ANY_LEVEL = 31;
const COLOURS = [1, 13, 6]; // BT.709, sRGB, BT.601 with full range
const MONO = 0;
const FULL = 2;

/** Bits, the highest of a byte first. */
class BitWriter {
  constructor() {
    /** @type {number[]} */
    this.bits = [];
  }

  put(value, count) {
    for (let bit = count - 1; bit >= 0; bit--) this.bits.push((value >> bit) & 1);
  }

  bytes() {
    const out = new Uint8Array(Math.ceil(this.bits.length / 8));
    this.bits.forEach((bit, index) => (out[index >> 3] |= bit << (7 - (index & 7))));
    return out;
  }
}

/** The body of a sequence header OBU (AV1, 5.5.1). @param {number} byte the first of a payload */
function sequenceHeader(byte, width, height) {
  const layout = byte >> 6;
  const bits = new BitWriter();
  bits.put(layout === FULL ? 1 : 0, 3); // seq_profile
  bits.put(0b11, 2); // still_picture, reduced_still_picture_header
  bits.put(ANY_LEVEL, 5);
  const sides = [width - 1, height - 1];
  const lengths = sides.map((side) => Math.max(1, 32 - Math.clz32(side)));
  for (const length of lengths) bits.put(length - 1, 4);
  sides.forEach((side, index) => bits.put(side, lengths[index]));
  bits.put((byte >> 3) & 7, 3);
  bits.put(0, 1); // enable_superres
  bits.put((byte >> 1) & 3, 2);
  bits.put(0, 1); // high_bitdepth
  if (layout !== FULL) bits.put(layout === MONO ? 1 : 0, 1);
  bits.put(1, 1); // color_description_present_flag
  for (const value of COLOURS) bits.put(value, 8);
  bits.put(1, 1); // color_range
  if (layout === 1) bits.put(0, 2); // chroma_sample_position
  if (layout !== MONO) bits.put(byte & 1, 1); // separate_uv_delta_q
  bits.put(0, 1); // film_grain_params_present
  bits.put(1, 1); // trailing_one_bit
  return bits.bytes();
}

/** An OBU with header and size. @param {number} kind @param {Uint8Array} body */
function obu(kind, body) {
  const size = [];
  let left = body.length;
  for (; left > 127; left >>>= 7) size.push((left & 127) | 128);
  return joined([[(kind << 3) | 2, ...size, left], body]);
}

const be16 = (value) => [value >> 8, value & 255];
const be32 = (value) => [value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255];
const ascii = (text) => Array.from(text, (character) => character.charCodeAt(0));
const box = (kind, ...content) => {
  const body = joined(content);
  return joined([be32(8 + body.length), ascii(kind), body]);
};
const fullBox = (kind, content, version = 0) => box(kind, [version, 0, 0, 0], content);

/** @param {number} place of the stream in the file */
function meta(place, length, byte, width, height) {
  const layout = byte >> 6;
  const mono = layout === MONO ? 1 : 0;
  const halved = layout === FULL ? 0 : 1;
  const planes = mono ? 1 : 3;
  const properties = joined([
    fullBox("ispe", [...be32(width), ...be32(height)]),
    fullBox("pixi", [planes, ...Array(planes).fill(8)]),
    box("av1C", [0x81, ((layout === FULL ? 1 : 0) << 5) | ANY_LEVEL, (mono << 4) | (halved << 3) | (halved << 2), 0]),
    box("colr", [...ascii("nclx"), ...COLOURS.flatMap(be16), 0x80]),
  ]);
  const associations = [...be32(1), ...be16(1), 4, 1, 2, 0x83, 4];
  const entry = fullBox("infe", [...be16(1), 0, 0, ...ascii("av01"), 0], 2);
  return fullBox("meta", joined([
    fullBox("hdlr", [0, 0, 0, 0, ...ascii("pict"), ...Array(13).fill(0)]),
    fullBox("pitm", be16(1)),
    fullBox("iloc", [0x44, 0, ...be16(1), ...be16(1), 0, 0, ...be16(1), ...be32(place), ...be32(length)]),
    fullBox("iinf", joined([be16(1), entry])),
    box("iprp", joined([box("ipco", properties), fullBox("ipma", associations)])),
  ]));
}

/** The AVIF file of a payload. @param {Uint8Array} payload @returns {Uint8Array} */
export function avifOf(payload, width, height) {
  if (Math.max(width, height) > MAX_SIDE || width * height > MAX_PIXELS) {
    throw corrupt(`an AV1 part cannot be of a picture of ${width}x${height}`);
  }
  if (payload.length < 2 || payload[0] >> 6 > FULL) throw corrupt("the AV1 part of the file is malformed");
  const stream = joined([
    obu(1, sequenceHeader(payload[0], width, height)),
    obu(6, payload.subarray(1)),
  ]);
  const ftyp = box("ftyp", ascii("avif"), [0, 0, 0, 0], ascii("avifmif1miaf"));
  const place = ftyp.length + meta(0, stream.length, payload[0], width, height).length + 8;
  return joined([ftyp, meta(place, stream.length, payload[0], width, height), box("mdat", stream)]);
}

/**
 * @param {Uint8Array} payload
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Uint8ClampedArray>} RGBA
 */
export async function decodeAv1(payload, width, height) {
  const file = avifOf(payload, width, height);
  if (typeof ImageDecoder !== "undefined" && (await ImageDecoder.isTypeSupported("image/avif"))) {
    return ofPlanes(file, width, height);
  }
  return ofCanvas(await pictureOf(file), width, height);
}

/** @param {Uint8Array} file */
async function pictureOf(file) {
  try {
    return await createImageBitmap(new Blob([file], { type: "image/avif" }), { colorSpaceConversion: "none" });
  } catch {
    throw corrupt("the AV1 part of the file cannot be decoded");
  }
}

/** @param {ImageBitmap | VideoFrame} picture */
function ofCanvas(picture, width, height) {
  const sides = "displayWidth" in picture ? [picture.displayWidth, picture.displayHeight] : [picture.width, picture.height];
  if (sides[0] !== width || sides[1] !== height) throw corrupt("the AV1 part is a picture of another size");
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) throw new CtmError("Unavailable", `this browser has no canvas of ${width}x${height} pixels`);
  context.drawImage(picture, 0, 0);
  picture.close();
  return context.getImageData(0, 0, width, height).data;
}

/** Converts the planes of the decoded frame here, so that colours are the same as in Python. */
async function ofPlanes(file, width, height) {
  const decoder = new ImageDecoder({ data: file, type: "image/avif", colorSpaceConversion: "none" });
  try {
    const { image } = await decoder.decode();
    const layout = { I420: 1, I444: 0 }[image.format ?? ""];
    if (layout === undefined || image.codedWidth < width || image.displayWidth !== width) {
      return ofCanvas(image, width, height);
    }
    const planes = new Uint8Array(image.allocationSize());
    const places = await image.copyTo(planes);
    image.close();
    return fromYuv(planes, places, layout, width, height);
  } catch (error) {
    throw error instanceof CtmError ? error : corrupt("the AV1 part of the file cannot be decoded");
  } finally {
    decoder.close();
  }
}

/** BT.601 with full range in libyuv's 6-bit arithmetic. */
function fromYuv(planes, places, halved, width, height) {
  const [y0, u0, v0] = places;
  const out = new Uint8ClampedArray(4 * width * height);
  const rows = (height + halved) >> halved;
  const columns = (width + halved) >> halved;
  const us = new Int16Array(width);
  const vs = new Int16Array(width);
  for (let y = 0, at = 0; y < height; y++) {
    chromaRow(us, planes, u0, y, halved, columns, rows);
    chromaRow(vs, planes, v0, y, halved, columns, rows);
    for (let x = 0; x < width; x++, at += 4) {
      const luma = ((planes[y0.offset + y * y0.stride + x] * 0x0101 * 16320) >>> 16) + 32;
      const u = us[x] - 128;
      const v = vs[x] - 128;
      out[at] = (luma + 90 * v) >> 6;
      out[at + 1] = (luma - 22 * u - 46 * v) >> 6;
      out[at + 2] = (luma + 113 * u) >> 6;
      out[at + 3] = 255;
    }
  }
  return out;
}

/** A row of chroma at full width; halved planes are interpolated with weights 3/4 and 1/4. */
function chromaRow(row, planes, place, y, halved, columns, rows) {
  if (!halved) {
    const start = place.offset + y * place.stride;
    for (let x = 0; x < row.length; x++) row[x] = planes[start + x];
    return;
  }
  const near = y >> 1;
  const far = Math.min(rows - 1, Math.max(0, near + (y & 1 ? 1 : -1)));
  const a = place.offset + near * place.stride;
  const b = place.offset + far * place.stride;
  for (let x = 0; x < row.length; x++) {
    const close = x >> 1;
    const other = Math.min(columns - 1, Math.max(0, close + (x & 1 ? 1 : -1)));
    row[x] = (9 * planes[a + close] + 3 * (planes[a + other] + planes[b + close]) + planes[b + other] + 8) >> 4;
  }
}
