// CoTAM files (.ctm) in a browser: decodeCtm(bytes) gives an ImageData.
import { CtmError } from "./module/bytes.js";
import { readHeader } from "./module/container.js";

export { CtmError, readHeader };

/** @typedef {import("./module/decode.js").Options & { signal?: AbortSignal }} Options */
/** @typedef {import("./module/decode.js").Decoded} Decoded */

/** @type {Worker | null} */
let worker = null;
let base = "";
let last = 0;
/** Calls that wait for an answer. @type {Map<number, { resolve: Function, reject: Function, onPreview?: Function }>} */
const waiting = new Map();

function started() {
  if (worker) return worker;
  worker = new Worker(new URL("module/worker.js", import.meta.url), { type: "module" });
  worker.onmessage = ({ data: { id, result, preview, error } }) => {
    const call = waiting.get(id);
    if (!call) return;
    if (preview) return call.onPreview?.(preview);
    waiting.delete(id);
    if (error) call.reject(new CtmError(error.name, error.message));
    else call.resolve(result);
  };
  worker.onerror = (event) => restart(new CtmError("Unavailable", event.message || "the decoder cannot be started"));
  if (base) worker.postMessage({ id: 0, call: "base", argument: base });
  return worker;
}

/** Ends the worker and everything that it was asked for. @param {any} reason */
function restart(reason) {
  worker?.terminate();
  worker = null;
  for (const call of waiting.values()) call.reject(reason);
  waiting.clear();
}

/** @param {string} call @param {Uint8Array} data @param {Options & Record<string, any>} options */
function ask(call, data, { signal, onPreview, ...options } = {}) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    signal?.addEventListener("abort", () => waiting.has(id) && restart(signal.reason));
    const id = ++last;
    waiting.set(id, { resolve, reject, onPreview });
    started().postMessage({ id, call, argument: data, options: { ...options, preview: Boolean(onPreview) } });
  });
}

/** @param {ArrayBuffer | ArrayBufferView} bytes @returns {Uint8Array} */
function viewOf(bytes) {
  if (bytes instanceof ArrayBuffer) return new Uint8Array(bytes);
  if (ArrayBuffer.isView(bytes)) return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  throw new CtmError("BadArgument", "decodeCtm needs the bytes of a file: an ArrayBuffer or a Uint8Array");
}

/** Where `runtime/` and `models/` are, if not beside this module. @param {string | URL} url */
export function setCtmBase(url) {
  base = String(new URL(url, document.baseURI));
  if (worker) worker.postMessage({ id: 0, call: "base", argument: base });
}

/**
 * Decodes a .ctm file. Throws a CtmError, whose `name` says what is wrong.
 * @param {ArrayBuffer | ArrayBufferView} bytes
 * @param {Options} [options]
 * @returns {Promise<ImageData>}
 */
export const decodeCtm = async (bytes, options) => (await decodeCtmFull(bytes, options)).picture;

/**
 * Decodes a .ctm file; also returns what is known about it.
 * @param {ArrayBuffer | ArrayBufferView} bytes
 * @param {Options} [options]
 * @returns {Promise<Decoded>}
 */
export const decodeCtmFull = async (bytes, options = {}) => ask("full", viewOf(bytes), options);

/**
 * Decodes a picture at 1/8 of the width and height. Of a learned file the beginning is enough.
 * @param {ArrayBuffer | ArrayBufferView} bytes
 * @param {Options} [options]
 * @returns {Promise<ImageData | null>} null if too little of the file is there
 */
export const decodeCtmPreview = async (bytes, options = {}) => ask("preview", viewOf(bytes), options);

/** A stream of screenshots: decode(bytes) gives the picture after each file. */
export class CtmStream {
  constructor(options = {}) {
    this.options = { ...options, stream: ++last };
  }

  /** @param {ArrayBuffer | ArrayBufferView} bytes @returns {Promise<ImageData>} */
  async decode(bytes) {
    return ask("stream", viewOf(bytes), this.options);
  }
}
