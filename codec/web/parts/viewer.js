// A decoded file with everything that is known about it: layers over the picture, zoom, the original.
import { coloured, colourOf, rangeOf, shaded } from "./overlay.js";
import { slider } from "./slider.js";
import { keptTokens } from "./tokens.js";

const GRID = 24;
const STRIDE = 16;
const ZOOMS = [1, 1.5, 2, 3, 4, 6, 8];

/** @param {string} tag @param {Record<string, any>} [properties] @param {(Node | string)[]} [children] */
export function make(tag, properties = {}, children = []) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

/** @param {number} bytes */
export const inBytes = (bytes) => (bytes < 1e3 ? `${bytes} bytes` : bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(2)} MB`);

/** The picture with its layers. */
export class Viewer {
  /** @param {HTMLElement} root */
  constructor(root) {
    this.picture = make("canvas", { role: "img", "aria-label": "decoded picture" });
    this.original = make("img", { alt: "original", className: "over", hidden: true, draggable: false });
    this.layer = make("canvas", { className: "over layer", "aria-hidden": "true" });
    this.border = make("div", { className: "border", hidden: true });
    this.sheet = make("div", { className: "sheet" }, [this.picture, this.original, this.layer, this.border]);
    this.stage = make("div", { className: "stage", tabIndex: 0, "aria-label": "picture; plus and minus zoom" }, [this.sheet]);
    this.choice = make("select", { id: "layer" });
    this.budget = make("input", { id: "budget", type: "range", min: "5", max: "100", step: "5", value: "25" });
    this.budgetLabel = make("label", { hidden: true }, ["token budget", this.budget]);
    this.range = make("input", { id: "split", type: "range", min: "0", max: "100", "aria-label": "border between original and decoded, percent" });
    this.sides = make("div", { className: "sides", hidden: true }, [make("span", {}, ["original"]), make("span", {}, ["decoded"])]);
    this.legend = make("p", { className: "pale legend", "aria-live": "polite" });
    this.facts = make("dl", { className: "facts" });
    this.level = 0;
    const zooms = [["−", -1, "zoom out"], ["fit", 0, "fit to the page"], ["+", 1, "zoom in"]].map(([text, step, title]) =>
      make("button", { type: "button", title, onclick: () => this.zoom(step) }, [text]),
    );
    const controls = make("div", { className: "controls" }, [
      make("label", {}, ["layer", this.choice]), this.budgetLabel, make("div", { className: "zooms", role: "group", "aria-label": "zoom" }, zooms),
    ]);
    root.replaceChildren(controls, this.stage, this.range, this.sides, this.legend, this.facts);
    this.move = slider(this.sheet, this.range);
    this.choice.onchange = () => this.drawLayer();
    this.budget.oninput = () => this.drawLayer();
    this.stage.addEventListener("keydown", (event) => {
      const step = { "+": 1, "=": 1, "-": -1, 0: 0 }[event.key];
      if (step !== undefined) this.zoom(step);
    });
  }

  /** @param {number} step 1 larger, -1 smaller, 0 fits */
  zoom(step) {
    this.level = step ? Math.min(ZOOMS.length - 1, Math.max(0, this.level + step)) : 0;
    this.sheet.style.width = `${100 * ZOOMS[this.level]}%`;
    this.sheet.classList.toggle("near", this.level > 2);
  }

  /** @param {ImageData} preview @param {number} width of the picture @param {number} height */
  showPreview(preview, width, height) {
    this.size(width, height);
    this.picture.width = preview.width;
    this.picture.height = preview.height;
    this.picture.getContext("2d").putImageData(preview, 0, 0);
    this.layer.hidden = true;
  }

  size(width, height) {
    this.sheet.style.aspectRatio = `${width} / ${height}`;
    // Small pictures are enlarged up to four times, tall ones fit the window.
    const most = `max(15rem, min(100%, ${4 * width}px, ${(75 * width) / height}vh))`;
    for (const part of [this.stage, this.range, this.sides]) part.style.maxWidth = most;
  }

  /**
   * @param {import("../module/decode.js").Decoded} decoded with its bits
   * @param {{ name: string, bytes: number, original?: string, ms?: number }} file
   */
  show(decoded, file) {
    this.decoded = decoded;
    const { picture, qp, bits } = decoded;
    this.size(picture.width, picture.height);
    this.picture.width = picture.width;
    this.picture.height = picture.height;
    this.picture.getContext("2d").putImageData(picture, 0, 0);
    this.picture.setAttribute("aria-label", file.name);
    const compared = Boolean(file.original);
    if (compared) this.original.src = file.original;
    for (const part of [this.original, this.border, this.range, this.sides]) part.hidden = !compared;
    this.move(compared ? 50 : 0);
    const layers = [["", "none"]];
    if (qp) layers.push(["qp", "QP map"]);
    if (bits) layers.push(["bits", "bits"], ["tokens", "tokens kept"]);
    if (decoded.regions.length) layers.push(["regions", "photographs"]);
    const before = this.choice.value;
    this.choice.replaceChildren(...layers.map(([value, text]) => new Option(text, value)));
    this.choice.value = layers.some(([value]) => value === before) ? before : "";
    this.facts.replaceChildren(...factsOf(decoded, file).flatMap(([term, text]) => [make("dt", {}, [term]), make("dd", {}, [text])]));
    this.drawLayer();
  }

  drawLayer() {
    const { decoded, layer } = this;
    if (!decoded) return;
    const chosen = this.choice.value;
    layer.hidden = !chosen;
    this.budgetLabel.hidden = chosen !== "tokens";
    layer.className = `over layer ${chosen}`;
    this.legend.replaceChildren(...(chosen ? this[chosen]() : []));
  }

  /** @param {ImageData} image @param {number} width in pixels of the picture @param {number} height */
  put(image, width, height) {
    const { layer, decoded } = this;
    layer.width = image.width;
    layer.height = image.height;
    layer.style.width = `${(100 * width) / decoded.picture.width}%`;
    layer.style.height = `${(100 * height) / decoded.picture.height}%`;
    layer.getContext("2d").putImageData(image, 0, 0);
  }

  field(values, power, unit) {
    const { cols, rows } = this.decoded;
    this.put(coloured(values, cols, power), cols * STRIDE, rows * STRIDE);
    const [low, high] = rangeOf(values);
    if (low === high) return [`${low} everywhere: ${unit}`];
    const swatches = make("span", { className: "swatches" }, [0, 0.2, 0.4, 0.6, 0.8, 1].map((share) => {
      const one = make("i");
      one.style.background = `rgb(${colourOf(share)})`;
      return one;
    }));
    const text = (value) => (Number.isInteger(value) ? `${value}` : value.toFixed(1));
    return [text(low), swatches, `${text(high)} ${unit}`];
  }

  qp() {
    return this.field(this.decoded.qp, 1, "QP; a higher QP is finer");
  }

  bits() {
    const estimated = this.decoded.bitsEstimated ? ", estimated from the picture's detail" : "";
    return this.field(this.decoded.bits, 0.5, `bits per 16x16 pixels${estimated}`);
  }

  tokens() {
    const { picture } = this.decoded;
    const kept = keptTokens(this.decoded, Number(this.budget.value) / 100, GRID);
    this.put(shaded(kept, GRID), picture.width, picture.height);
    const how = this.decoded.bitsEstimated ? "by the picture's detail" : "by where the bits went";
    return [`${kept.size} of ${GRID * GRID} tokens (${this.budget.value} %) are kept, ${how}`];
  }

  regions() {
    const { picture, regions } = this.decoded;
    const image = new ImageData(picture.width, picture.height);
    for (const { left, top, width, height } of regions) {
      for (let y = top; y < top + height; y++) {
        for (let x = left; x < left + width; x++) image.data.set([255, 140, 40, 110], 4 * (y * picture.width + x));
      }
    }
    this.put(image, picture.width, picture.height);
    return ["orange parts are coded by the learned tool"];
  }
}

/** @returns {string[][]} pairs of a term and its text */
function factsOf(decoded, file) {
  const { picture, qp, tool } = decoded;
  const facts = [
    ["file", file.name],
    ["size", `${picture.width}x${picture.height} pixels, ${inBytes(file.bytes)}, ${((8 * file.bytes) / (picture.width * picture.height)).toFixed(3)} bits per pixel`],
    ["tool", decoded.reason ? `${tool}: ${decoded.reason}` : tool],
  ];
  if (qp) {
    const [low, high] = rangeOf(qp);
    facts.push(["QP", low === high ? `${low} everywhere` : `${low} to ${high}`]);
  } else {
    facts.push(["quality", `${decoded.quality}`]);
  }
  if (decoded.fingerprint) facts.push(["weights", `${decoded.model} ${decoded.fingerprint}`.trim()]);
  facts.push(["sections", Object.entries(decoded.sections).map(([name, bytes]) => `${name} ${inBytes(bytes)}`).join(", ")]);
  if (file.ms) facts.push(["decoded in", `${Math.round(file.ms)} ms`]);
  return facts;
}
