// rANS over frozen integer tables (docs/format.md, "Latents"). All numbers are exact integers.
import { corrupt } from "./bytes.js";

const BITS = 24;
const TOTAL = 2 ** BITS;
const PRECISION = 16;
const WORD = 2 ** 32;
const HALF = 2 ** 20;
const ESCAPE_BITS = 15;

/** Frozen tables: table t covers -reach..reach and, as its last entry, the escape. */
export class Tables {
  /**
   * @param {Uint16Array | number[]} frequencies all tables in a row; each sums to 2^16
   * @param {number[]} lengths entries of each table
   */
  constructor(frequencies, lengths) {
    this.reach = lengths.map((length) => (length - 2) / 2);
    /** First numbers of the entries of each table, and 2^24. @type {Int32Array[]} */
    this.starts = [];
    /** Bits of the entries, with the escape's 16 raw bits. @type {Float32Array[]} */
    this.costs = [];
    /** Where to begin the search for a number, by its first 8 bits. @type {Uint16Array[]} */
    this.guesses = [];
    let first = 0;
    for (const length of lengths) {
      const part = Array.from(frequencies.slice(first, first + length));
      first += length;
      const starts = new Int32Array(length + 1);
      let below = 0;
      part.forEach((frequency, entry) => {
        // The product is rounded to float32, as in the coder that writes files.
        starts[entry] = Math.floor(Math.fround((below / 2 ** PRECISION) * (TOTAL - length))) + entry;
        below += frequency;
      });
      starts[length] = TOTAL;
      this.starts.push(starts);
      const costs = Float32Array.from(part, (frequency) => PRECISION - Math.log2(frequency));
      costs[length - 1] += ESCAPE_BITS + 1;
      this.costs.push(costs);
      this.guesses.push(guessesOf(starts));
    }
  }

  get count() {
    return this.reach.length;
  }

  /** @param {number} symbol @param {number} table @returns {number} bits */
  bits(symbol, table) {
    const reach = this.reach[table];
    return this.costs[table][Math.abs(symbol) <= reach ? symbol + reach : 2 * reach + 1];
  }
}

/** @param {Int32Array} starts @returns {Uint16Array} */
function guessesOf(starts) {
  const guesses = new Uint16Array(256);
  let entry = 0;
  for (let top = 0; top < 256; top++) {
    while (starts[entry + 1] <= top << (BITS - 8)) entry++;
    guesses[top] = entry;
  }
  return guesses;
}

/** A stack of symbols. Any bytes yield symbols; only `finish` tells whether they were right. */
export class Decoder {
  /** @param {Tables} tables @param {Uint8Array} data */
  constructor(tables, data) {
    this.tables = tables;
    if (data.length % 4) throw corrupt("the entropy-coded part has an impossible length");
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    this.words = Uint32Array.from({ length: data.length / 4 }, (_, index) => view.getUint32(4 * index, true));
    this.left = this.words.length;
    if (this.left && !this.words[this.left - 1]) throw corrupt("the entropy-coded part has an impossible end");
    // The state has 64 bits, in two halves.
    this.high = 0;
    this.low = 0;
    this.fill();
    this.fill();
  }

  fill() {
    if (!this.high && this.left) {
      this.high = this.low;
      this.low = this.words[--this.left];
    }
  }

  /** Removes an entry from the state; it begins at `start` and has `size` numbers. */
  advance(start, size) {
    // state = floor(state / 2^24) size + rest: the 40-bit quotient is split, so that doubles are exact.
    const quotient = this.high * 256 + (this.low >>> BITS);
    const rest = (this.low & (TOTAL - 1)) - start;
    const upper = Math.floor(quotient / HALF);
    const product = upper * size;
    const sum = (product % 4096) * HALF + (quotient - upper * HALF) * size + rest;
    const carry = Math.floor(sum / WORD);
    this.high = Math.floor(product / 4096) + carry;
    this.low = sum - carry * WORD;
    this.fill();
  }

  /** @param {number} table @returns {number} the next entry */
  entry(table) {
    const number = this.low & (TOTAL - 1);
    const starts = this.tables.starts[table];
    let entry = this.tables.guesses[table][number >>> (BITS - 8)];
    while (starts[entry + 1] <= number) entry++;
    this.advance(starts[entry], starts[entry + 1] - starts[entry]);
    return entry;
  }

  /** An escaped value: 16 uniform bits. */
  raw() {
    const value = (this.low & (TOTAL - 1)) >>> (BITS - ESCAPE_BITS - 1);
    this.advance(value << (BITS - ESCAPE_BITS - 1), 2 ** (BITS - ESCAPE_BITS - 1));
    return value;
  }

  /**
   * Pops a block.
   * @param {Uint8Array} ids the table of each symbol
   * @returns {Int32Array} the symbols
   */
  pop(ids) {
    const counts = new Uint32Array(257);
    for (let i = 0; i < ids.length; i++) counts[ids[i] + 1]++;
    for (let table = 0; table < 256; table++) counts[table + 1] += counts[table];
    // Symbols are coded by table, stably; escapes follow in the same order.
    const order = new Uint32Array(ids.length);
    for (let i = 0; i < ids.length; i++) order[counts[ids[i]]++] = i;
    const symbols = new Int32Array(ids.length);
    const escaped = [];
    for (let i = 0; i < order.length; i++) {
      const place = order[i];
      const reach = this.tables.reach[ids[place]];
      const entry = this.entry(ids[place]);
      if (entry === 2 * reach + 1) escaped.push(place);
      else symbols[place] = entry - reach;
    }
    for (const place of escaped) {
      const raw = this.raw();
      const magnitude = (raw >> 1) + this.tables.reach[ids[place]] + 1;
      if (magnitude >= 1 << ESCAPE_BITS) throw corrupt("an entropy-coded value is out of range");
      symbols[place] = raw & 1 ? -magnitude : magnitude;
    }
    return symbols;
  }

  /** Throws unless the stack is empty. */
  finish() {
    if (this.left || this.high || this.low) throw corrupt("the entropy-coded part does not end where it should");
  }
}
