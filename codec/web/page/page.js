// The page: files that are dropped or chosen, or the one that `?src=` names on this server.
import { decodeCtmFull, readHeader } from "./cotam.js";
import "./parts/element.js";
import { Viewer } from "./parts/viewer.js";

const get = (id) => document.getElementById(id);
const drop = get("drop");
const status = get("status");
const viewer = new Viewer(get("viewer"));
let running = new AbortController();

/** @param {string} text @param {boolean} wrong */
function say(text, wrong = false) {
  status.textContent = text;
  status.className = wrong ? "wrong" : "pale";
}

/** @param {string} name @param {() => Promise<ArrayBuffer>} read */
async function open(name, read) {
  running.abort();
  const { signal } = (running = new AbortController());
  get("viewer").hidden = true;
  say(`Decoding ${name} ...`);
  try {
    const data = new Uint8Array(await read());
    const begun = performance.now();
    const onPreview = (preview) => {
      if (signal.aborted) return;
      const { width, height } = readHeader(data);
      viewer.showPreview(preview, width, height);
      get("viewer").hidden = false;
    };
    const decoded = await decodeCtmFull(data, { wantBits: true, toSrgb: true, onPreview, signal });
    if (signal.aborted) return;
    viewer.show(decoded, { name, bytes: data.length, ms: performance.now() - begun });
    get("viewer").hidden = false;
    say("");
  } catch (error) {
    if (!signal.aborted) say(`${name}: ${error.message}`, true);
  }
}

const openFile = (file) => file && open(file.name, () => file.arrayBuffer());
get("file").addEventListener("change", (event) => openFile(event.target.files[0]));
for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over-it", kind === "dragover");
    if (kind === "drop") openFile(event.dataTransfer.files[0]);
  });
}
const src = new URLSearchParams(location.search).get("src");
if (src) {
  open(src, async () => {
    const response = await fetch(src);
    if (!response.ok) throw new Error(`the server answers ${response.status}`);
    return response.arrayBuffer();
  });
}
