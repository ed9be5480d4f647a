"""Runs the viewer's module in Chromium, for tests: decodes files to arrays."""

from __future__ import annotations

import base64
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from codec.errors import CodecError
from codec.export.web import find_runtime, runtime_files
from codec.view.server import TYPES

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
BLANK = "<!doctype html><meta charset=utf-8><title>test</title>"
# Calls a function of the module. An error is returned as its name and message.
CALL = """async ({script, files, more}) => {
  const text = (bytes) => {
    let out = "";
    for (let i = 0; i < bytes.length; i += 32768)
      out += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return btoa(out);
  };
  const datas = files.map((file) => Uint8Array.from(atob(file), (c) => c.charCodeAt(0)));
  const hash = async (array) =>
    [...new Uint8Array(await crypto.subtle.digest("SHA-256", array))]
      .map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const shown = (image) =>
    image && {width: image.width, height: image.height, data: text(image.data)};
  try {
    const body = `return (async () => {${script}})()`;
    const run = new Function("datas", "more", "shown", "hash", body);
    return {result: await run(datas, more, shown, hash)};
  } catch (error) {
    return {error: error.name, message: error.message};
  }
}"""


class WebError(Exception):
    """An error that the module raised; `name` is the name of Python's class."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


class Handler(http.server.SimpleHTTPRequestHandler):
    def guess_type(self, path: Any) -> str:
        return TYPES.get(Path(path).suffix) or super().guess_type(path)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Run a static server for a folder, and return its address."""
    handler = functools.partial(Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser; skips the test if there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    program = next((path for path in map(shutil.which, names) if path), None)
    if program is None:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


def runtime() -> Path:
    """The folder of an installed onnxruntime-web; skips the test if there is none."""
    try:
        folder = find_runtime()
        runtime_files(folder)
    except CodecError as error:
        pytest.skip(str(error))
    return folder


class Module:
    """The viewer's module, loaded in a page.

    Args:
        page: a Playwright page that shows an empty page of the server.
    """

    def __init__(self, page: Any) -> None:
        self.page = page

    def call(self, script: str, *files: bytes, more: Any = None) -> Any:
        """Run a script in which `datas` are the files and `more` is any value.

        Returns:
            The return value of the script.

        Raises:
            WebError: the script throws.
        """
        texts = [base64.b64encode(file).decode() for file in files]
        answer = self.page.evaluate(CALL, {"script": script, "files": texts, "more": more})
        if "error" in answer:
            raise WebError(answer["error"], answer["message"])
        return answer.get("result")

    def decode(self, data: bytes) -> NDArray[np.uint8]:
        """Decode with decodeCtm: RGBA [H, W, 4]."""
        script = "return shown(await (await import('/cotam.js')).decodeCtm(datas[0]))"
        return pixels_of(self.call(script, data))


def pixels_of(shown: dict[str, Any]) -> NDArray[np.uint8]:
    """RGBA [H, W, 4] of an ImageData that the script's `shown` converted."""
    values = np.frombuffer(base64.b64decode(shown["data"]), np.uint8)
    return values.reshape(shown["height"], shown["width"], 4)
