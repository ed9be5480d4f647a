"""vLLM and SGLang accept `.ctm` through entry points; uses their own loaders if installed."""

from __future__ import annotations

import base64
import configparser
import importlib
import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.integrations import servers
from codec.integrations.data_url import data_url
from tests.conftest import ROOT

GROUPS = ("vllm.general_plugins", "sglang.srt.plugins")


@pytest.fixture(scope="module")
def path(small: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "a.ctm"
    path.write_bytes(codec.load("tiny", "cpu").encode(small, tool="learned"))
    return path


@pytest.fixture(scope="module")
def url(path: Path) -> Iterator[str]:
    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(path.read_bytes())

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/a.ctm"
    server.shutdown()


@pytest.fixture(scope="module")
def wanted(path: Path) -> NDArray[np.uint8]:
    return codec.decode(path.read_bytes(), output="array")


def named(group: str) -> str:
    """The function that setup.cfg names for a group of entry points."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    entry: str = config["options.entry_points"][group].split("=")[1].strip()
    return entry


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS)
def test_an_entry_point_registers_the_plugin(group: str, path: Path) -> None:
    """Servers call it in each process, possibly more than once; it does not import PyTorch."""
    module, function = named(group).split(":")
    program = f"""
import io, sys
from {module} import {function}
from PIL import Image
{function}()
{function}()
assert "torch" not in sys.modules
assert Image.ID.count("CTM") == 1
image = Image.open(io.BytesIO(open({str(path)!r}, "rb").read()))
assert image.convert("RGB").size == (130, 96)
"""
    # The server packages are absent, because they import PyTorch.
    hidden = f"import sys; sys.modules['vllm'] = None\n{program}"
    done = subprocess.run(
        [sys.executable, "-c", hidden],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_vllms_list_of_formats_is_extended(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opens pictures as vLLM 0.33 does, without vLLM."""
    package, multimodal = ModuleType("vllm"), ModuleType("vllm.multimodal")
    image: Any = ModuleType("vllm.multimodal.image")
    image.ALLOWED_IMAGE_FORMATS = ("PNG",)
    multimodal.image = image  # type: ignore[attr-defined]
    for module in (package, multimodal, image):
        monkeypatch.setitem(sys.modules, module.__name__, module)

    def opened() -> Image.Image:
        return Image.open(io.BytesIO(path.read_bytes()), formats=image.ALLOWED_IMAGE_FORMATS)

    with pytest.raises(Image.UnidentifiedImageError):
        opened()
    servers.vllm()
    servers.vllm()
    assert image.ALLOWED_IMAGE_FORMATS == ("PNG", "CTM")
    assert opened().size == (130, 96)
    del image.ALLOWED_IMAGE_FORMATS
    servers.vllm()


@pytest.mark.parametrize("way", ["data", "http", "file"])
def test_vllm_loads_a_file(way: str, path: Path, url: str, wanted: NDArray[np.uint8]) -> None:
    pytest.importorskip("vllm", reason="vLLM is not installed")
    media = importlib.import_module("vllm.multimodal.media")
    importlib.import_module("vllm.plugins").load_general_plugins()
    connector = media.MediaConnector(allowed_local_media_path=str(path.parent))
    source = {"data": data_url(path, "ctm"), "http": url, "file": path.as_uri()}[way]
    np.testing.assert_array_equal(np.asarray(connector.fetch_image(source).media), wanted)


@pytest.mark.parametrize("way", ["data", "http", "file", "path", "base64", "bytes"])
def test_sglang_loads_a_file(way: str, path: Path, url: str, wanted: NDArray[np.uint8]) -> None:
    pytest.importorskip("sglang", reason="SGLang is not installed")
    importlib.import_module("sglang.srt.plugins").load_plugins()
    load_image = importlib.import_module("sglang.srt.utils.common").load_image
    ways: dict[str, Any] = {
        "data": data_url(path, "ctm"),
        "http": url,
        "file": path.as_uri(),
        "path": str(path),
        "base64": base64.b64encode(path.read_bytes()).decode(),
        "bytes": path.read_bytes(),
    }
    found = load_image(ways[way])
    image = found[0] if isinstance(found, tuple) else found
    np.testing.assert_array_equal(np.asarray(image), wanted)
