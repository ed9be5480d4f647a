// Errors, and reading forward through bytes.

/** What is wrong with a file, in one sentence; `name` is that of Python's error. */
export class CtmError extends Error {
  /** @param {string} name @param {string} message */
  constructor(name, message) {
    super(message);
    this.name = name;
  }
}

/** @param {string} what @returns {CtmError} */
export const corrupt = (what) => new CtmError("Corrupt", `${what}; fetch or copy the file again`);

/** Reads forward; every call throws Truncated beyond the end. */
export class Reader {
  /** @param {Uint8Array} data */
  constructor(data) {
    this.data = data;
    this.at = 0;
  }

  /** @param {number} count @returns {Uint8Array} a view of the next bytes */
  take(count) {
    const missing = this.at + count - this.data.length;
    if (missing > 0) {
      throw new CtmError("Truncated", `the file ends ${missing} bytes too early; fetch or copy it again`);
    }
    this.at += count;
    return this.data.subarray(this.at - count, this.at);
  }

  byte() {
    return this.take(1)[0];
  }

  /** A LEB128 number of at most 5 bytes in its shortest form. It may exceed 32 bits. */
  varint() {
    let value = 0;
    for (let index = 0; index < 5; index++) {
      const byte = this.byte();
      value += (byte & 127) * 2 ** (7 * index);
      if (byte < 128) {
        if (index && !byte) break;
        return value;
      }
    }
    throw corrupt("a length in the file is malformed");
  }

  /** 0, -1, 1, -2, ... as 0, 1, 2, 3, ... */
  signed() {
    const value = this.varint();
    return value % 2 ? -(value + 1) / 2 : value / 2;
  }

  get left() {
    return this.data.length - this.at;
  }

  rest() {
    return this.data.subarray(this.at);
  }
}

/**
 * Runs `read`; bytes that end too early inside a part are damage, not a short file.
 * @template T @param {string} what @param {() => T} read @returns {T}
 */
export function within(what, read) {
  try {
    return read();
  } catch (error) {
    throw error instanceof CtmError && error.name === "Truncated" ? corrupt(what) : error;
  }
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  for (let bit = 0; bit < 8; bit++) byte = byte & 1 ? (byte >>> 1) ^ 0xedb88320 : byte >>> 1;
  return byte;
});

/** CRC-32 as zlib's. @param {Uint8Array[]} parts @returns {number} */
export function crc32(...parts) {
  let crc = -1;
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) crc = CRC_TABLE[(crc ^ part[i]) & 255] ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

/** @param {Uint8Array} bytes @returns {string} */
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/** @param {(Uint8Array | number[])[]} parts @returns {Uint8Array} */
export function joined(parts) {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
