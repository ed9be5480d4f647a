"""The viewer's server: on this machine only, and only the files that it was asked to show.

::

    /              the page            /file/N      a .ctm file       /runtime/NAME
    /files.json    the list of files   /original/N  its original      /models/FINGERPRINT/NAME
                                       /decoded/N, /pixels/N          by Python

No name in a request becomes a path: requests name entries of tables that were made before.
"""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Sequence
from functools import lru_cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any

from codec import web
from codec.bitstream.container import DEFAULT_LIMIT_PIXELS
from codec.errors import CodecError
from codec.export.web import runtime_files, write_weights
from codec.io import images
from codec.view.decoded import decoded
from codec.view.files import Shown
from codec.weights import checkpoint, lookup

HOST = "127.0.0.1"
# Host names in requests of this server's pages; any other name may come from a foreign page.
HOSTS = {HOST, "localhost"}
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".mjs": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".wasm": "application/wasm",
}
BINARY = "application/octet-stream"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    # With these two, WebAssembly may use threads.
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
FINGERPRINT_DIGITS = 8
Answer = tuple[bytes, str]  # bytes, media type


class Site:
    """What the server answers.

    Args:
        files: the files to show.
        runtime: an installed onnxruntime-web; None where Python decodes for the page.
    """

    def __init__(self, files: Sequence[Shown], runtime: Path | None) -> None:
        self.files = files
        self.numbers = {str(number) for number in range(len(files))}
        self.static = {path.as_posix(): web.FOLDER / path for path in web.files_of(*web.MODULE)}
        self.static |= {path.name: web.FOLDER / path for path in web.files_of("view")}
        self.static[""] = self.static["index.html"]
        self.has_runtime = runtime is not None
        if runtime is not None:
            self.static |= {f"runtime/{file.name}": file for file in runtime_files(runtime)}
        # /decoded and /pixels of a file share one decoding.
        self.decode = lru_cache(maxsize=2)(lambda number: decoded(self._file(number)))
        self.lock = Lock()
        self.weights = tempfile.TemporaryDirectory(prefix="cotam-view-")
        self.numbered: dict[str, Callable[[int], Answer]] = {
            "file": lambda number: (self._file(number), BINARY),
            "original": self._original,
            "decoded": lambda number: (_json(self._decoded(number)[0]), TYPES[".json"]),
            "pixels": lambda number: (self._decoded(number)[1], TYPES[".png"]),
        }

    def close(self) -> None:
        """Remove the temporary files."""
        self.weights.cleanup()

    def answer(self, path: str) -> Answer | None:
        """What is at a path, without its leading slash; None for nothing.

        Raises:
            CodecError: a file is bad.
            OSError: a file cannot be read.
        """
        if path in self.static:
            file = self.static[path]
            return file.read_bytes(), TYPES.get(file.suffix, BINARY)
        if path == "files.json":
            return _json(self._list()), TYPES[".json"]
        kind, _, rest = path.partition("/")
        if kind in self.numbered and rest in self.numbers:
            return self.numbered[kind](int(rest))
        return self._model_file(rest) if kind == "models" else None

    def _list(self) -> dict[str, Any]:
        entries = [
            {"name": one.name, "original": None if one.original is None else one.original.name}
            for one in self.files
        ]
        return {"files": entries, "runtime": self.has_runtime}

    def _file(self, number: int) -> bytes:
        return self.files[number].path.read_bytes()

    def _decoded(self, number: int) -> tuple[dict[str, Any], bytes]:
        with self.lock:
            return self.decode(number)

    def _original(self, number: int) -> Answer:
        """The original as an upright PNG, so that a browser can show every format."""
        original = self.files[number].original
        if original is None:
            raise CodecError(f"{self.files[number].name} has no original here")
        stream = io.BytesIO()
        images.save(images.from_any(original, DEFAULT_LIMIT_PIXELS), stream, ".png")
        return stream.getvalue(), TYPES[".png"]

    def _model_file(self, rest: str) -> Answer | None:
        """A file of weights that are installed here, written when they are first asked for."""
        digits, _, name = rest.partition("/")
        try:
            fingerprint = bytes.fromhex(digits)
        except ValueError:
            return None
        if len(digits) != FINGERPRINT_DIGITS:
            return None
        folder = Path(self.weights.name) / fingerprint.hex()
        with self.lock:
            if not folder.is_dir():
                weights = lookup.by_fingerprint(fingerprint)
                if weights is None:
                    return None
                write_weights(checkpoint.load(weights), folder)
        files = {file.name: file for file in folder.iterdir()}
        if name not in files:
            return None
        return files[name].read_bytes(), TYPES.get(files[name].suffix, BINARY)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


class Server(ThreadingHTTPServer):
    """Serves a site to browsers on this machine.

    Args:
        site: what is served.
        port: 0 for any free one.
    """

    daemon_threads = True

    def __init__(self, site: Site, port: int = 0) -> None:
        self.site = site
        super().__init__((HOST, port), _Handler)

    @property
    def address(self) -> str:
        """The address of the page."""
        return f"http://{HOST}:{self.server_port}/"


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Stay quiet: the terminal shows the address only."""

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in HOSTS:
            self._send(HTTPStatus.FORBIDDEN, b"this server answers this machine only", "text/plain")
            return
        path = self.path.partition("?")[0].removeprefix("/")
        try:
            answer = self.server.site.answer(path)
        except (CodecError, OSError, MemoryError) as error:
            text = " ".join(str(error).split()).encode()
            self._send(HTTPStatus.UNPROCESSABLE_ENTITY, text, "text/plain; charset=utf-8")
            return
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, b"there is nothing here", "text/plain")
        else:
            self._send(HTTPStatus.OK, *answer)

    def _send(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        try:
            self.send_response(status)
            for name, value in HEADERS.items():
                self.send_header(name, value)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:  # the page was left
            self.close_connection = True
