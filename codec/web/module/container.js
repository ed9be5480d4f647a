// The file format's header and sections (docs/format.md).
import { CtmError, Reader, corrupt, crc32, hex, within } from "./bytes.js";

export const LEARNED = 0;
export const AV1 = 1;
export const PALETTE = 2;
export const MIXED = 3;
export const CHANGES = 4;
export const TOOLS = ["learned", "av1", "palette", "mixed", "changes"];
/** Reasons by their number in a file's header (codec/tools/choosing/reasons.py). */
export const REASONS = [
  "not recorded",
  "asked for",
  "exact pixels were asked for",
  "it looks like a photograph",
  "it looks like a screen, a chart or a drawing",
  "it looks like a scan of text",
  "it is too small for the learned transform",
  "an option that only the learned tool has was given",
  "it holds photographs among graphics",
  "it holds what changed since another picture",
];
export const MAX_SIDE = 2 ** 20 - 1;
/** Pixels: larger pictures are refused unless the caller raises the limit. */
export const LIMIT_PIXELS = 2 ** 26;
const MAGIC = [0xc0, 0x54, 0x4d];
const ALPHA = 0x41;
const GREY = 0x47;
const PROFILE = 0x49;
const NAMES = { 0x41: "alpha", 0x45: "exif", 0x47: "grey", 0x49: "icc" };

/**
 * @typedef {object} Header
 * @property {number} width in pixels
 * @property {number} height in pixels
 * @property {number} tool 0 for the learned tool
 * @property {number} qp base QP 0..63 of the learned tool
 * @property {number} channels samples of a pixel of other tools: 1, 3 or 4
 * @property {number} quality 0..100 of other tools
 * @property {number} reason why the encoder chose the tool
 * @property {string} fingerprint of the weights, hexadecimal; empty where none are needed
 * @property {number} payload length in bytes; for the learned tool, the length of its latents
 * @property {number} map length of the QP map in bytes
 * @property {boolean} hasMap
 * @property {number} extras length in bytes
 * @property {boolean} hasExtras
 * @property {number} size length of the header
 * @property {string} checksum as it stands in the header, hexadecimal
 */

/**
 * Parses a header; neither the checksum nor the sections are checked.
 * @param {Uint8Array} data a file or its beginning
 * @param {number} limitPixels
 * @returns {Header}
 */
export function readHeader(data, limitPixels = LIMIT_PIXELS) {
  if (MAGIC.some((byte, index) => index < data.length && data[index] !== byte) || !data.length) {
    throw new CtmError("NotACotamFile", "this is not a CoTAM file");
  }
  const reader = new Reader(data);
  reader.take(3);
  const version = reader.byte();
  if (version !== 1 && version !== 2) {
    throw new CtmError("UnsupportedVersion", `the file has format version ${version}; update this viewer`);
  }
  const flags = reader.byte();
  const quality = version === 2 ? reader.byte() : 0;
  const reason = version === 2 ? reader.byte() : 0;
  const width = reader.varint();
  const height = reader.varint();
  checkSize(width, height, limitPixels);
  const fingerprint = version === 1 ? hex(reader.take(4)) : "";
  const payload = reader.varint();
  const hasMap = version === 1 && (flags & 64) > 0;
  const map = hasMap ? reader.varint() : 0;
  const hasExtras = flags >= 128;
  const extras = hasExtras ? reader.varint() : 0;
  const checksum = hex(reader.take(4));
  const tool = version === 1 ? LEARNED : flags & 31;
  const channels = version === 1 ? 3 : [1, 3, 4][(flags >> 5) & 3];
  if ((version === 2 && !tool) || !channels || quality > 100) throw corrupt("the file's header is malformed");
  return {
    width, height, tool, qp: version === 1 ? flags & 63 : 0, channels, quality, reason, fingerprint,
    payload, map, hasMap, extras, hasExtras, size: reader.at, checksum,
  };
}

/** @param {number} width @param {number} height @param {number} limit */
function checkSize(width, height, limit) {
  if (!width || !height) throw corrupt("the file claims a picture without pixels");
  if (Math.max(width, height) > MAX_SIDE || width * height > limit) {
    throw new CtmError("TooLarge", `the picture claims ${width}x${height} pixels; the limit is ${limit}`);
  }
}

/**
 * @typedef {object} Sections
 * @property {Uint8Array | null} map the coded QP map
 * @property {Uint8Array} payload
 * @property {Map<number, Uint8Array>} extras by type
 */

/**
 * Parses a whole file and checks its lengths and its checksum.
 * @param {Uint8Array} data
 * @param {number} limitPixels
 * @returns {Header & Sections}
 */
export function readFile(data, limitPixels = LIMIT_PIXELS) {
  const header = readHeader(data, limitPixels);
  const reader = new Reader(data);
  const head = reader.take(header.size - 4);
  const stored = reader.take(4);
  const missing = header.payload + header.map + header.extras - reader.left;
  if (missing > 0) reader.take(reader.left + missing);
  if (missing < 0) throw corrupt(`${-missing} bytes follow the end of the picture`);
  const crc = crc32(head, reader.rest());
  if (stored.some((byte, index) => byte !== ((crc >>> (8 * index)) & 255))) {
    throw corrupt("the file's checksum does not match its content");
  }
  if (header.hasExtras && !header.extras) throw corrupt("the file says that optional sections follow, and none do");
  const map = header.hasMap ? reader.take(header.map) : null;
  const payload = reader.take(header.payload);
  return { ...header, map, payload, extras: readExtras(reader.take(header.extras)) };
}

/**
 * The sections in the beginning of a learned file; its checksum cannot be checked yet.
 * @param {Uint8Array} data
 * @param {Header} header
 * @returns {Header & Sections | null} null if the QP map is not complete
 */
export function readBeginning(data, header) {
  const reader = new Reader(data);
  reader.take(header.size);
  if (reader.left < header.map) return null;
  const map = header.hasMap ? reader.take(header.map) : null;
  return { ...header, map, payload: reader.take(Math.min(reader.left, header.payload)), extras: new Map() };
}

/** @param {Uint8Array} data @returns {Map<number, Uint8Array>} */
function readExtras(data) {
  const reader = new Reader(data);
  const extras = new Map();
  while (reader.left) {
    const kind = reader.byte();
    const section = within("an optional section is longer than the space it is in", () => reader.take(reader.varint()));
    if (extras.has(kind)) throw corrupt("an optional section appears twice");
    if (kind === GREY && section.length) throw corrupt("the 'grey' section must be empty");
    extras.set(kind, section);
  }
  return extras;
}

/** @param {Header & Sections} file @returns {Record<string, number>} bytes by section */
export function sectionsOf(file) {
  /** @type {Record<string, number>} */
  const sizes = { [file.tool ? "payload" : "latents"]: file.payload.length };
  if (file.map) sizes["qp map"] = file.map.length;
  for (const [kind, section] of file.extras) sizes[NAMES[kind] ?? `unknown ${kind}`] = section.length;
  return sizes;
}

/** @param {Sections} file @returns {Uint8Array | undefined} the alpha section, a PNG */
export const alphaOf = (file) => file.extras.get(ALPHA);

/** @param {Sections} file @returns {Uint8Array | undefined} the colour profile */
export const profileOf = (file) => file.extras.get(PROFILE);

/** @param {Sections} file @returns {boolean} whether the source was grey */
export const isGrey = (file) => file.extras.has(GREY);
