"""The code of docs/mllm.md runs unchanged, with tiny random models and a small local server."""

from __future__ import annotations

import base64
import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.integrations.transformers import unregister
from codec.towers import load_tower
from tests.conftest import ROOT, psnr
from tests.test_tokens import made_for
from tests.test_transformers import llava

TOWER = "timm:deit_tiny_patch16_224"
REQUESTS: list[dict[str, Any]] = []


class Server(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        REQUESTS.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        answer = json.dumps({"choices": [{"message": {"content": "a cat"}}]}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.mark.slow
def test_the_page_runs(
    cotam: codec.Codec,
    photo: NDArray[np.uint8],
    tmp_path: Path,
    api: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    data = cotam.encode(photo, tool="learned", quality=50)
    Path("photo.ctm").write_bytes(data)
    model, processor = llava()
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    tower = load_tower(TOWER, "random")
    names: dict[str, Any] = {
        "model_id": str(tmp_path / "model"),
        "tower_name": TOWER,
        "tower_weights": "random",
        "adapter": made_for(cotam, tower, tmp_path / "a.safetensors"),
        "api_base": api,
        "api_model": "any",
    }
    monkeypatch.setattr("codec.towers.load_tower", lambda *_: tower)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "mllm.md").read_text(), re.S)
    assert len(blocks) == 5
    for block in blocks:
        exec(compile(block, "docs/mllm.md", "exec"), names)
    assert names["answer"].shape[1] > names["inputs"]["input_ids"].shape[1]
    assert len(names["kept"].indexes) == 144
    assert names["seen"].shape == names["tokens"].shape == (1, 197, 192)
    assert "a cat" in capsys.readouterr().out
    sent = REQUESTS[-1]["messages"][0]["content"][1]["image_url"]["url"]
    with Image.open(io.BytesIO(base64.b64decode(sent.partition(",")[2]))) as received:
        assert received.size == (photo.shape[1], photo.shape[0])
        seen = np.asarray(received.convert("RGB"))
        assert psnr(seen, cotam.decode(data, output="array")) > 30
    names["model"].cotam.detach()
    unregister()
