// The QP map: coded offsets to the base QP, and the QP of every latent position.
import { Reader, corrupt, within } from "./bytes.js";
import { Decoder, Tables } from "./rans.js";

const REACH = 15;
const QP_MAX = 63;
const DECAYS = [[1, 64], [1, 10], [1, 4], [9, 20], [13, 20], [17, 20]];
/** Whether each predictor adds up along rows (down) and along columns (to the right). */
const PREDICTORS = [[false, false], [false, true], [true, false], [true, true]];
/** @type {Tables | null} */
let tables = null;

/** Two-sided geometric tables, computed in whole numbers. */
function mapTables() {
  if (tables) return tables;
  const rows = DECAYS.map(([a, b]) => {
    const weights = Array.from({ length: 2 * REACH + 1 }, (_, k) => {
      const power = BigInt(Math.abs(k - REACH));
      return (2n ** 40n * BigInt(a) ** power) / BigInt(b) ** power;
    });
    weights.push(weights[0]);
    const sum = weights.reduce((total, weight) => total + weight);
    const row = weights.map((weight) => 1 + Number((weight * BigInt(65536 - weights.length)) / sum));
    row[REACH] += 65536 - row.reduce((total, frequency) => total + frequency);
    return row;
  });
  tables = new Tables(rows.flat(), rows.map((row) => row.length));
  return tables;
}

/**
 * @param {Uint8Array} data the section
 * @param {number} maxRows of the latent grid
 * @param {number} maxCols of the latent grid
 * @returns {{ rows: number, cols: number, offsets: Float64Array }}
 */
export function decodeOffsets(data, maxRows, maxCols) {
  const reader = new Reader(data);
  const [rows, cols, code, unit] = within("the QP map is longer than the space it is in", () => [
    reader.varint(), reader.varint(), reader.byte(), reader.byte(),
  ]);
  if (!rows || !cols || rows > maxRows || cols > maxCols) throw corrupt("the QP map is larger than the picture's grid");
  const sums = PREDICTORS[code >> 4];
  if (!sums || (code & 15) >= DECAYS.length || !unit) throw corrupt("the QP map is coded in an unknown way");
  const decoder = new Decoder(mapTables(), reader.rest());
  const offsets = Float64Array.from(decoder.pop(new Uint8Array(rows * cols).fill(code & 15)));
  decoder.finish();
  if (sums[0]) for (let i = cols; i < offsets.length; i++) offsets[i] += offsets[i - cols];
  if (sums[1]) for (let i = 1; i < offsets.length; i++) if (i % cols) offsets[i] += offsets[i - 1];
  for (let i = 0; i < offsets.length; i++) offsets[i] *= unit;
  if (offsets.some((offset) => Math.abs(offset) > QP_MAX)) throw corrupt("the QP map holds impossible values");
  return { rows, cols, offsets };
}

/**
 * The QP of every latent position.
 * @param {number} base
 * @param {Uint8Array | null} map the coded map
 * @param {number} rows of the latent grid
 * @param {number} cols
 * @returns {Uint8Array} rows x cols
 */
export function qpField(base, map, rows, cols) {
  const field = new Uint8Array(rows * cols).fill(base);
  if (!map) return field;
  const cells = decodeOffsets(map, rows, cols);
  for (let i = 0; i < rows; i++) {
    const first = Math.floor((i * cells.rows) / rows) * cells.cols;
    for (let j = 0; j < cols; j++) {
      const offset = cells.offsets[first + Math.floor((j * cells.cols) / cols)];
      field[i * cols + j] = Math.min(QP_MAX, Math.max(0, base + offset));
    }
  }
  return field;
}
