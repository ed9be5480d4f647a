"""Bytes and milliseconds of the browser viewer: `python -m benchmarks.web.measure --json`.

::

    cotam export --web -> sizes of page, runtime, weights; bytes until the first preview
    files of both sizes -> Chromium, new profile -> times at first use, then warm: preview, picture

Needs Chromium, Playwright and onnxruntime-web (docs/browser.md). `--isolated` serves the page
cross-origin isolated, so that WebAssembly uses threads.
"""

from __future__ import annotations

import argparse
import base64
import functools
import gzip
import http.server
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from PIL import Image

import codec
from benchmarks.lib.output import add_options, hand_over
from benchmarks.screens import CLIENT_SIZE, pictures_of
from codec.bitstream import container
from codec.evaluation.machine import describe
from codec.export import web
from codec.view.server import HEADERS, TYPES
from codec.weights import checkpoint
from training.data.pages import open_browser

MODELS = ("tiny", "small")
PHOTOGRAPH_SIZE = (768, 512)
QUALITY = 50
FIRST_ROUNDS = 3
WARM_ROUNDS = 5
# Runs in a page: decodes once and returns times in milliseconds since the call.
DECODE = """async ({file, rounds}) => {
  const {decodeCtmFull} = await import("/cotam.js");
  const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0));
  const out = [];
  for (let round = 0; round <= rounds; round++) {
    const begun = performance.now();
    let preview = null;
    await decodeCtmFull(bytes, {onPreview: () => (preview = performance.now() - begun)});
    out.push({preview, picture: performance.now() - begun});
  }
  return out;
}"""
BLANK = "<!doctype html><meta charset=utf-8><title>measured</title>"


class _Handler(http.server.SimpleHTTPRequestHandler):
    isolated = False

    def guess_type(self, path: Any) -> str:
        return TYPES.get(Path(path).suffix) or super().guess_type(path)

    def end_headers(self) -> None:
        if self.isolated:
            for name, value in HEADERS.items():
                if name.startswith("Cross-Origin"):
                    self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: object) -> None:
        """Log nothing, because stdout is for the result."""


class _IsolatedHandler(_Handler):
    isolated = True


@contextmanager
def served(folder: Path, isolated: bool) -> Iterator[str]:
    """Run a static server for a folder, and return its address."""
    kind = _IsolatedHandler if isolated else _Handler
    handler = functools.partial(kind, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def bytes_of(paths: list[Path]) -> dict[str, int]:
    """Bytes of files, uncompressed and as a server with gzip sends them."""
    datas = [path.read_bytes() for path in paths]
    return {
        "files": sum(map(len, datas)),
        "gzip": sum(len(gzip.compress(data)) for data in datas),
    }


def sizes(site: Path) -> dict[str, Any]:
    """Bytes of the parts of a site, and of the part of the weights that the preview needs."""
    runtime = list((site / "runtime").iterdir())
    page = [
        path
        for path in site.rglob("*")
        if path.is_file() and not {"models", "runtime"} & set(path.relative_to(site).parts)
    ]
    weights = {}
    for name in MODELS:
        folder = site / "models" / checkpoint.load(name).fingerprint.hex()
        graphs = json.loads((folder / "model.json").read_text())["graphs"]
        first = graphs[: graphs.index("preview") + 1]
        needed = [folder / "model.json", folder / "tables.bin"]
        weights[name] = {
            "preview": bytes_of(needed + [folder / f"{graph}.onnx" for graph in first]),
            "picture": bytes_of(list(folder.iterdir())),
        }
    return {"page": bytes_of(page), "runtime": bytes_of(runtime), "weights": weights}


def files(photograph: Path, screen: Path) -> dict[str, bytes]:
    """The measured files: a photograph per model in two sizes, and a screenshot per tool."""
    found = {}
    with Image.open(photograph) as image:
        picture = image.convert("RGB")
    for size in (PHOTOGRAPH_SIZE, CLIENT_SIZE):
        shown = picture.resize(size, Image.Resampling.LANCZOS)
        for name in MODELS:
            data = codec.load(name).encode(shown, tool="learned", quality=QUALITY)
            found[f"`{name}`, {size[0]}x{size[1]}"] = data
    with Image.open(screen) as image:
        picture = image.convert("RGB")
    tools: dict[str, dict[str, Any]] = {
        "av1": {"tool": "av1", "quality": QUALITY},
        "palette": {"tool": "palette", "quality": QUALITY},
        "palette, lossless": {"lossless": True},
    }
    for size in (PHOTOGRAPH_SIZE, CLIENT_SIZE):
        shown = picture.resize(size, Image.Resampling.LANCZOS)
        for tool, options in tools.items():
            name = f"screen by {tool}, {size[0]}x{size[1]}"
            found[name] = codec.load().encode(shown, **options)
    return found


def beginning(data: bytes) -> int | None:
    """Bytes of a learned file up to the end of its first layer; None for other tools."""
    if container.read_header(data).tool:
        return None
    layer = container.Reader(container.read(data).latents)
    header = container.read_header(data)
    return header.size + header.qp_map + layer.varint() + layer.at


def times(browser: Any, address: str, data: bytes) -> dict[str, Any]:
    """Milliseconds until preview and picture, at first use in a new profile and warm."""
    first = []
    warm = []
    for _ in range(FIRST_ROUNDS):
        context = browser.new_context()
        page = context.new_page()
        page.set_default_timeout(600_000)
        page.goto(f"{address}/blank.html")
        file = base64.b64encode(data).decode()
        rounds = page.evaluate(DECODE, {"file": file, "rounds": WARM_ROUNDS})
        first.append(rounds[0])
        warm += rounds[1:]
        context.close()
    return {"first": _medians(first), "warm": _medians(warm)}


def _medians(rounds: list[dict[str, Any]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {"picture": median(one["picture"] for one in rounds)}
    previews = [one["preview"] for one in rounds if one["preview"] is not None]
    return found | {"preview": median(previews) if previews else None}


def measure(photograph: Path, screen: Path, isolated: bool) -> dict[str, Any]:
    """Measure everything and return the result."""
    runtime = web.find_runtime()
    package = json.loads((runtime / "package.json").read_text())
    with tempfile.TemporaryDirectory() as place, open_browser() as browser:
        site = Path(place)
        for name in MODELS:
            web.export(checkpoint.load(name), site, runtime)
        result: dict[str, Any] = {
            "machine": describe(),
            "onnxruntime-web": package["version"],
            "chromium": browser.version,
            "isolated": isolated,
            "sizes": sizes(site),
            "files": {},
        }
        (site / "blank.html").write_text(BLANK)
        with served(site, isolated) as address:
            for name, data in files(photograph, screen).items():
                result["files"][name] = {
                    "bytes": len(data),
                    "beginning": beginning(data),
                    "milliseconds": times(browser, address, data),
                }
    return result


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--isolated", action="store_true", help="with threads")
    add_options(parser)
    options = parser.parse_args()
    (photograph,) = pictures_of("eval/kodak", 1)
    (screen,) = pictures_of("eval/screens", 1)
    result = measure(photograph, screen, options.isolated)
    if not hand_over(result, options):
        for name, facts in result["files"].items():
            print(name, facts["bytes"], facts["milliseconds"])


if __name__ == "__main__":
    main()
