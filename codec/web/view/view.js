// The page of `cotam view`: the files of a folder, each beside its original.
import { CtmError, decodeCtmFull, readHeader } from "./cotam.js";
import { Viewer } from "./parts/viewer.js";

const MIXED = 3;
const get = (id) => document.getElementById(id);
const status = get("status");
const choice = get("file");
const viewer = new Viewer(get("viewer"));
let running = new AbortController();
/** @type {{ files: { name: string, original: string | null }[], runtime: boolean }} */
let list = { files: [], runtime: false };

function say(text, wrong = false) {
  status.textContent = text;
  status.className = wrong ? "wrong" : "pale";
}

/** @param {string} path @param {AbortSignal} signal @returns {Promise<Response>} */
async function fetched(path, signal) {
  const response = await fetch(path, { signal });
  if (!response.ok) throw new Error(await response.text());
  return response;
}

/** Decodes in the browser, or in Python if the browser has no runtime for the networks. */
async function decoded(number, data, signal) {
  const header = readHeader(data);
  const onPreview = (preview) => {
    if (signal.aborted) return;
    viewer.showPreview(preview, header.width, header.height);
    get("viewer").hidden = false;
  };
  const byPython = !list.runtime && (header.fingerprint || header.tool === MIXED);
  if (!byPython) return decodeCtmFull(data, { wantBits: true, toSrgb: true, onPreview, signal });
  const facts = await (await fetched(`decoded/${number}`, signal)).json();
  const blob = await (await fetched(`pixels/${number}`, signal)).blob();
  const bitmap = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
  context.drawImage(bitmap, 0, 0);
  return { ...facts, picture: context.getImageData(0, 0, bitmap.width, bitmap.height), yHat: null };
}

/** @param {number} number of the file */
async function show(number) {
  running.abort(new CtmError("AbortError", "another file was chosen"));
  const { signal } = (running = new AbortController());
  const { name, original } = list.files[number];
  choice.value = String(number);
  document.title = `${name} - cotam view`;
  say(`Decoding ${name} ...`);
  try {
    const data = new Uint8Array(await (await fetched(`file/${number}`, signal)).arrayBuffer());
    const begun = performance.now();
    const found = await decoded(number, data, signal);
    if (signal.aborted) return;
    const ms = performance.now() - begun;
    viewer.show(found, { name, bytes: data.length, ms, original: original ? `original/${number}` : undefined });
    get("viewer").hidden = false;
    say("");
  } catch (error) {
    if (signal.aborted) return;
    get("viewer").hidden = true;
    say(`${name}: ${error.message}`, true);
  }
}

const step = (by) => show((Number(choice.value) + by + list.files.length) % list.files.length);
choice.addEventListener("change", () => show(Number(choice.value)));
get("before").addEventListener("click", () => step(-1));
get("after").addEventListener("click", () => step(1));
document.addEventListener("keydown", (event) => {
  const by = { n: 1, p: -1 }[event.key];
  // In a list, letters choose an entry.
  if (by && event.target.tagName !== "SELECT" && !event.ctrlKey && !event.metaKey) step(by);
});

list = await (await fetch("files.json")).json();
choice.replaceChildren(...list.files.map(({ name }, number) => new Option(name, String(number))));
get("list").hidden = list.files.length < 2;
show(0);
