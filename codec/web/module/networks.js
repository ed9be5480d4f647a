// The networks: graphs of the weights that a file names, run by onnxruntime-web on the CPU.
import { CtmError } from "./bytes.js";
import { Tables } from "./rans.js";
import { tiled } from "./tiles.js";

const MOST_THREADS = 4;
// Optimizing the graphs took 0.5 s of the first picture's 2.9 s and made later ones no faster.
const OPTIONS = { executionProviders: ["wasm"], graphOptimizationLevel: "disabled" };
/** @type {Promise<any> | null} */
let runtime = null;
/** @type {Map<string, Promise<import("./learned.js").Model & { name: string }>>} */
const models = new Map();
let base = new URL("../", import.meta.url);

/** Where `runtime/` and `models/` are; the page's own folder unless set. @param {string} url */
export function setBase(url) {
  base = new URL(url, import.meta.url);
}

/** @param {string} path @returns {Promise<Response>} */
async function fetched(path) {
  const response = await fetch(new URL(path, base)).catch(() => null);
  if (!response?.ok) throw new CtmError("Unavailable", `${path} cannot be fetched`);
  return response;
}

function ort() {
  runtime ??= import(new URL("runtime/ort.wasm.min.mjs", base).href).then(
    (module) => {
      module.env.wasm.wasmPaths = new URL("runtime/", base).href;
      const cores = globalThis.navigator?.hardwareConcurrency ?? 1;
      module.env.wasm.numThreads = globalThis.crossOriginIsolated ? Math.min(MOST_THREADS, cores) : 1;
      return module;
    },
    () => {
      runtime = null;
      throw new CtmError("Unavailable", "onnxruntime-web is missing: export the page again with --runtime");
    },
  );
  return runtime;
}

/**
 * The model of a fingerprint; its files are fetched once.
 * @param {string} fingerprint hexadecimal
 * @returns {Promise<import("./learned.js").Model & { name: string }>}
 */
export function modelOf(fingerprint) {
  const found = models.get(fingerprint);
  if (found) return found;
  const made = load(fingerprint);
  models.set(fingerprint, made);
  made.catch(() => models.delete(fingerprint));
  return made;
}

async function load(fingerprint) {
  const folder = `models/${fingerprint}/`;
  // The files that are needed first are requested at the same time.
  ort().catch(() => {});
  const entropy = fetched(`${folder}tables.bin`).then((response) => response.arrayBuffer());
  entropy.catch(() => {});
  const manifest = await fetched(`${folder}model.json`).then(
    (response) => response.json(),
    () => {
      throw new CtmError("WrongModel", `the file needs the weights ${fingerprint}, which this page does not have`);
    },
  );
  const numbers = new DataView(await entropy);
  const frequencies = Uint16Array.from({ length: numbers.byteLength / 2 }, (_, i) => numbers.getUint16(2 * i, true));
  const graphs = new Graphs(folder);
  const model = {
    name: manifest.name,
    tables: new Tables(frequencies, manifest.lengths),
    layers: manifest.layers,
    skipBelow: manifest.skip_below,

    async features(layer, z, a, b, qp) {
      const out = await graphs.run(`features_${layer}`, { z: [z, [a, b, z.length / (a * b)]], qp: [qp, [4 * a, 4 * b]] });
      return { tensor: out.features, a, b };
    },

    async step(layer, step, features, sets) {
      const { tensor, a, b } = features;
      const feeds = { features: tensor };
      sets.forEach((set, number) => (feeds[`set${number}`] = [set, [2 * a, 2 * b, set.length / (4 * a * b)]]));
      const { mean, index } = await graphs.run(`step_${layer}_${step}`, feeds);
      return { mean: mean.data, index: index.data };
    },

    async synthesis(y, rows, cols, qp) {
      const feeds = { y_hat: [y, [rows, cols, y.length / (rows * cols)]], qp: [qp, [rows, cols]] };
      return (await graphs.run("synthesis", feeds)).pixels.data;
    },

    async preview(y, rows, cols, qp) {
      const feeds = { y_hat: [y, [rows, cols, y.length / (rows * cols)]], qp: [qp, [rows, cols]] };
      return (await graphs.run("preview", feeds)).pixels.data;
    },
  };
  graphs.fetchAll(manifest.graphs);
  return { ...tiled(model, manifest.margin), name: manifest.name };
}

/** Graphs of one model: files are fetched in the order of their use, sessions are opened when needed. */
class Graphs {
  /** @param {string} folder */
  constructor(folder) {
    this.folder = folder;
    /** @type {Map<string, Promise<ArrayBuffer>>} */
    this.files = new Map();
    /** @type {Map<string, Promise<any>>} */
    this.sessions = new Map();
  }

  /** @param {string[]} names in the order of their use */
  async fetchAll(names) {
    for (const name of names) {
      // One after another, so that the preview's graphs are here first.
      await this.file(name).catch(() => {});
    }
  }

  /** @param {string} name */
  file(name) {
    let file = this.files.get(name);
    if (!file) {
      file = fetched(`${this.folder}${name}.onnx`).then((response) => response.arrayBuffer());
      this.files.set(name, file);
      file.catch(() => this.files.delete(name));
    }
    return file;
  }

  /** @param {string} name */
  session(name) {
    let session = this.sessions.get(name);
    if (!session) {
      session = Promise.all([ort(), this.file(name)]).then(([module, file]) =>
        module.InferenceSession.create(new Uint8Array(file), OPTIONS),
      );
      this.sessions.set(name, session);
      session.then(() => this.files.delete(name), () => this.sessions.delete(name));
    }
    return session;
  }

  /** @param {string} name @param {Record<string, any>} feeds tensors, or [array, dimensions] */
  async run(name, feeds) {
    const [module, session] = await Promise.all([ort(), this.session(name)]);
    const tensors = {};
    for (const [key, value] of Object.entries(feeds)) {
      tensors[key] = Array.isArray(value) ? tensorOf(module, value[0], value[1]) : value;
    }
    return session.run(tensors);
  }
}

/** Converts an array to a tensor. Arrays of bytes hold QPs, which the graphs take as int64. */
function tensorOf(module, array, sides) {
  if (array instanceof Float32Array) return new module.Tensor("float32", array, sides);
  return new module.Tensor("int64", BigInt64Array.from(array, BigInt), sides);
}
