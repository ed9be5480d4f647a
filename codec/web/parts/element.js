// <cotam-image src="photo.ctm" alt="..."> shows the preview first, then the picture.
import { decodeCtm, decodeCtmPreview } from "../cotam.js";

const style = new CSSStyleSheet();
style.replaceSync(":host{display:inline-block} canvas{display:block;width:100%;height:auto}");
// Bytes after which a preview is tried again, while a file arrives.
const PART = 2048;

/** Events: `preview`, `load`, `error` (its `detail` is the error). */
export class CotamImage extends HTMLElement {
  static observedAttributes = ["src", "alt"];

  constructor() {
    super();
    this.canvas = document.createElement("canvas");
    const shadow = this.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [style];
    shadow.append(this.canvas);
    this.canvas.setAttribute("role", "img");
    /** Ends the decoding of an earlier `src`. */
    this.ended = new AbortController();
    this.connected = false;
    /** Whether `src` is decoded. */
    this.complete = false;
  }

  get src() {
    return this.getAttribute("src") ?? "";
  }

  set src(value) {
    this.setAttribute("src", value);
  }

  attributeChangedCallback(name, before, value) {
    if (name === "alt") this.canvas.setAttribute("aria-label", value ?? "");
    else if (before !== value && this.connected) this.load();
  }

  connectedCallback() {
    this.connected = true;
    if (this.src) this.load();
  }

  disconnectedCallback() {
    this.connected = false;
    this.ended.abort();
  }

  async load() {
    this.ended.abort();
    this.complete = false;
    const { signal } = (this.ended = new AbortController());
    try {
      const response = await fetch(new URL(this.src, document.baseURI), { signal });
      if (!response.ok) throw new Error(`${this.src}: the server answers ${response.status}`);
      const data = await this.received(response, signal);
      const picture = await decodeCtm(data, { toSrgb: true });
      if (signal.aborted) return;
      this.draw(picture);
      this.complete = true;
      this.dispatchEvent(new Event("load"));
    } catch (error) {
      if (!signal.aborted) this.dispatchEvent(new CustomEvent("error", { detail: error }));
    }
  }

  /** The whole file; its preview is shown as soon as enough bytes are here. */
  async received(response, signal) {
    let data = new Uint8Array(0);
    let tried = 0;
    let shown = null;
    const preview = async (bytes) => {
      const picture = await decodeCtmPreview(bytes);
      if (!picture) return (shown = null);
      if (signal.aborted || this.complete) return;
      this.draw(picture);
      this.dispatchEvent(new Event("preview"));
    };
    const reader = response.body.getReader();
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      const longer = new Uint8Array(data.length + part.value.length);
      longer.set(data);
      longer.set(part.value, data.length);
      data = longer;
      if (!shown && data.length >= tried + PART) {
        tried = data.length;
        // Errors are reported when the whole file has arrived.
        shown = preview(data.slice()).catch(() => {});
      }
    }
    // Only learned files (version 1) get a preview: a screen tool's takes as long as the picture.
    if (!shown && data[3] === 1) await preview(data).catch(() => {});
    return data;
  }

  /** @param {ImageData} picture */
  draw(picture) {
    this.canvas.width = picture.width;
    this.canvas.height = picture.height;
    this.canvas.getContext("2d").putImageData(picture, 0, 0);
  }
}

if (!customElements.get("cotam-image")) customElements.define("cotam-image", CotamImage);
