// Runs the decoder beside the page, which stays usable meanwhile.
import { StreamDecoder, decodeFull, decodePreview } from "./decode.js";
import { setBase } from "./networks.js";

/** @type {Map<number, StreamDecoder>} */
const streams = new Map();

const calls = {
  base: async (url) => setBase(url),
  full: (data, options, id) =>
    decodeFull(data, {
      ...options,
      onPreview: options.preview ? (preview) => post({ id, preview: preview }, [preview.data.buffer]) : undefined,
    }),
  preview: decodePreview,
  stream: (data, options) => {
    const stream = streams.get(options.stream) ?? new StreamDecoder(options);
    streams.set(options.stream, stream);
    // The next message needs the pixels, so the page gets a copy.
    return stream.decode(data).then(({ data: rgba, width, height }) => new ImageData(rgba.slice(), width, height));
  },
};

/** @param {any} message @param {Transferable[]} moved */
function post(message, moved = []) {
  self.postMessage(message, { transfer: moved });
}

self.onmessage = async ({ data: { id, call, argument, options } }) => {
  try {
    const result = await calls[call](argument, options, id);
    const picture = result?.picture ?? result;
    post({ id, result }, picture instanceof ImageData ? [picture.data.buffer] : []);
  } catch (error) {
    post({ id, error: { name: error?.name ?? "Error", message: String(error?.message ?? error) } });
  }
};
