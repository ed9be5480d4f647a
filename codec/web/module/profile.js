// Colour profiles: the browser converts a PNG with the profile in it to sRGB.
import { crc32, joined } from "./bytes.js";

const be32 = (value) => [value >>> 24, (value >> 16) & 255, (value >> 8) & 255, value & 255];
const ascii = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));

/** @param {string} kind @param {Uint8Array | number[]} content */
function chunk(kind, content) {
  const body = joined([ascii(kind), content]);
  return joined([be32(body.length - 4), body, be32(crc32(body))]);
}

/** @param {Uint8Array} bytes */
async function deflated(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/**
 * The picture in sRGB; the same picture if the browser cannot use the profile.
 * @param {ImageData} picture
 * @param {Uint8Array} icc
 * @returns {Promise<ImageData>}
 */
export async function toSrgb(picture, icc) {
  const { data, width, height } = picture;
  const lines = new Uint8Array(height * (4 * width + 1));
  for (let y = 0; y < height; y++) {
    lines.set(data.subarray(4 * width * y, 4 * width * (y + 1)), y * (4 * width + 1) + 1);
    // Opaque, so that colours are not rounded by alpha.
    for (let at = y * (4 * width + 1) + 4; at < (y + 1) * (4 * width + 1); at += 4) lines[at] = 255;
  }
  const png = joined([
    [137, 80, 78, 71, 13, 10, 26, 10],
    chunk("IHDR", [...be32(width), ...be32(height), 8, 6, 0, 0, 0]),
    chunk("iCCP", joined([ascii("icc\0\0"), await deflated(icc)])),
    chunk("IDAT", await deflated(lines)),
    chunk("IEND", []),
  ]);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  const bitmap = await createImageBitmap(new Blob([png], { type: "image/png" })).catch(() => null);
  if (!bitmap || !context) return picture;
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const out = context.getImageData(0, 0, width, height);
  for (let i = 3; i < data.length; i += 4) out.data[i] = data[i];
  return out;
}
