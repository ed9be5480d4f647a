// The alpha section: a PNG of one channel.
import { corrupt, crc32 } from "./bytes.js";

const DAMAGED = "the file's alpha section is damaged";
const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/**
 * @param {Uint8Array} data a PNG of one grey channel without interlacing
 * @param {number} width
 * @param {number} height
 * @returns {Promise<Uint8Array>} width x height
 */
export async function decodeAlpha(data, width, height) {
  if (data.length < 33 || SIGNATURE.some((byte, index) => data[index] !== byte)) throw corrupt(DAMAGED);
  const view = new DataView(data.buffer, data.byteOffset, data.length);
  const depth = data[24];
  const sound = view.getUint32(16) === width && view.getUint32(20) === height && data[25] === 0 && data[28] === 0;
  if (!sound || ![1, 2, 4, 8].includes(depth)) throw corrupt(DAMAGED);
  const parts = [];
  for (let at = 8; at + 12 <= data.length; ) {
    const length = view.getUint32(at);
    if (at + 12 + length > data.length) throw corrupt(DAMAGED);
    const end = at + 8 + length;
    if (crc32(data.subarray(at + 4, end)) !== view.getUint32(end)) throw corrupt(DAMAGED);
    const kind = String.fromCharCode(...data.subarray(at + 4, at + 8));
    if (kind === "IDAT") parts.push(data.subarray(at + 8, at + 8 + length));
    if (kind === "IEND") break;
    at += 12 + length;
  }
  const stride = Math.ceil((width * depth) / 8);
  const lines = await inflated(parts, (stride + 1) * height);
  return samples(unfiltered(lines, stride, height), stride, depth, width, height);
}

/** Exactly `size` bytes of a zlib stream; no more are ever held. */
async function inflated(parts, size) {
  const out = new Uint8Array(size);
  const reader = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  let at = 0;
  try {
    while (at < size) {
      const { done, value } = await reader.read();
      if (done) throw corrupt(DAMAGED);
      out.set(value.subarray(0, size - at), at);
      at += value.length;
    }
  } catch {
    throw corrupt(DAMAGED);
  } finally {
    reader.cancel().catch(() => {});
  }
  return out;
}

/** Undoes the filters of lines of bytes, of one byte a pixel. */
function unfiltered(lines, stride, height) {
  const out = new Uint8Array(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = lines[y * (stride + 1)];
    if (filter > 4) throw corrupt(DAMAGED);
    for (let x = 0, at = y * stride; x < stride; x++, at++) {
      const left = x ? out[at - 1] : 0;
      const up = y ? out[at - stride] : 0;
      const corner = x && y ? out[at - stride - 1] : 0;
      const guesses = [0, left, up, (left + up) >> 1, filter === 4 ? paeth(left, up, corner) : 0];
      out[at] = lines[y * (stride + 1) + 1 + x] + guesses[filter];
    }
  }
  return out;
}

function paeth(left, up, corner) {
  const a = Math.abs(up - corner);
  const b = Math.abs(left - corner);
  const c = Math.abs(left + up - 2 * corner);
  return a <= b && a <= c ? left : b <= c ? up : corner;
}

function samples(bytes, stride, depth, width, height) {
  if (depth === 8) return bytes;
  const out = new Uint8Array(width * height);
  const most = (1 << depth) - 1;
  for (let y = 0, at = 0; y < height; y++) {
    for (let x = 0; x < width; x++, at++) {
      const byte = bytes[y * stride + ((x * depth) >> 3)];
      out[at] = (((byte >> (8 - depth - ((x * depth) & 7))) & most) * 255) / most;
    }
  }
  return out;
}
