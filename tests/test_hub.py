"""Weights on the Hugging Face Hub, tested with a local server that implements its API."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from codec.info import weights_of
from codec.weights import checkpoint
from tests.conftest import ROOT

pytest.importorskip("huggingface_hub", reason="cotam[hub] is not installed")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """A server that keeps the files of all repositories in memory."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def log_message(self, *_: object) -> None:
        """Log nothing."""

    def answer(self, content: object, status: int = 200) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def file(self, with_body: bool) -> None:
        self.asked.append(self.path)
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        name = f"{repository}/{rest.partition('/')[2]}"
        if name not in self.files:
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        data = self.files[name]
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def do_HEAD(self) -> None:
        self.file(False)

    def do_GET(self) -> None:
        self.file(True)

    def body(self) -> bytes:
        """The body of a request, also if it is sent in chunks."""
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def do_POST(self) -> None:
        body = self.body()
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked.get('organization')}/{asked['name']}"
            self.answer({"url": f"http://{self.headers['Host']}/{name}"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            listed = json.loads(body)["files"]
            kinds = [{"path": one["path"], "uploadMode": "regular"} for one in listed]
            self.answer({"files": [one | {"shouldIgnore": False} for one in kinds]})
        else:
            repository = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in body.splitlines():
                entry = json.loads(line)
                if entry["key"] == "file":
                    value = entry["value"]
                    content = base64.b64decode(value["content"])
                    self.files[f"{repository}/{value['path']}"] = content
            url = f"http://{self.headers['Host']}/{repository}/commit/{COMMIT}"
            self.answer({"commitUrl": url, "commitOid": COMMIT, "success": True})


@pytest.fixture
def hub() -> Iterator[str]:
    """The address of a running server without files."""
    Hub.files = {}
    Hub.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def python(
    script: str, endpoint: str, cache: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(cache),
        "HF_TOKEN": "hf_test",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_XET": "1",
        **more,
    }
    return subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


COMMAND = """
import sys
from codec.cli.main import main
sys.argv = ["cotam", *{arguments!r}]
main()
"""


def cotam(
    endpoint: str, cache: Path, *arguments: str, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return python(COMMAND.format(arguments=arguments), endpoint, cache, **more)


PUSH = """
from pathlib import Path
from codec.weights import checkpoint, hub
print(hub.push(checkpoint.find("tiny"), "---\\nlibrary_name: cotam\\n---\\n# tiny", "team/tiny"))
"""
LOAD = "import codec; print(codec.load('hf://team/tiny').fingerprint)"


@pytest.mark.slow
def test_weights_are_pushed_loaded_and_kept_for_offline_use(hub: str, tmp_path: Path) -> None:
    pushed = python(PUSH, hub, tmp_path)
    assert pushed.stdout.strip() == "hf://team/tiny", pushed.stderr
    assert Hub.files["team/tiny/cotam.safetensors"] == checkpoint.find("tiny").read_bytes()
    assert Hub.files["team/tiny/README.md"].startswith(b"---\nlibrary_name: cotam")
    loaded = python(LOAD, hub, tmp_path)
    assert loaded.stdout.strip() == "4030fbf7", loaded.stderr
    asked = len(Hub.asked)
    offline = python(LOAD, hub, tmp_path, HF_HUB_OFFLINE="1")
    assert offline.stdout.strip() == "4030fbf7", offline.stderr
    assert len(Hub.asked) == asked


@pytest.mark.slow
def test_what_is_not_there_ends_in_one_sentence(hub: str, tmp_path: Path) -> None:
    script = """
import codec
for name in ("hf://team/absent", "hf://nonsense"):
    try:
        codec.load(name)
    except codec.CodecError as error:
        print(type(error).__name__, str(error).count(chr(10)))
"""
    done = python(script, hub, tmp_path)
    assert done.stdout.split("\n")[:2] == ["UnknownModel 0", "BadArgument 0"], done.stderr


def test_nothing_is_asked_of_the_network_unless_it_is_named(hub: str, tmp_path: Path) -> None:
    done = python("import codec; codec.load('small').fingerprint", hub, tmp_path)
    assert done.returncode == 0, done.stderr
    assert Hub.asked == []


@pytest.mark.slow
def test_the_command_takes_addresses(hub: str, tmp_path: Path, small: NDArray[np.uint8]) -> None:
    Hub.files["team/tiny/cotam.safetensors"] = checkpoint.find("tiny").read_bytes()
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        Image.fromarray(np.roll(small, number, 0)).save(pictures / f"{number}.png")
    model = ["--model", "hf://team/tiny"]
    out = tmp_path / "out"
    coded = cotam(hub, tmp_path, "encode", str(pictures), "-o", str(out), "-j", "2", *model)
    assert coded.returncode == 0, coded.stderr
    files = sorted(out.iterdir())
    assert [weights_of(file.read_bytes()) for file in files] == ["tiny"] * 3
    asked = len(Hub.asked)
    # Decoding also accepts an address, and files that were downloaded once are available offline.
    named = ["decode", str(files[0]), "-o", str(tmp_path / "a.png"), *model]
    decoded = cotam(hub, tmp_path, *named, HF_HUB_OFFLINE="1")
    assert decoded.returncode == 0, decoded.stderr
    for command in (["inspect", str(files[0])], ["export", "-o", str(tmp_path / "graphs")]):
        done = cotam(hub, tmp_path, *command, *model, HF_HUB_OFFLINE="1")
        assert done.returncode == 0, done.stderr
    assert len(Hub.asked) == asked
    absent = ["encode", str(pictures), "-o", str(tmp_path / "none"), "--model", "hf://team/absent"]
    refused = cotam(hub, tmp_path, *absent)
    assert refused.returncode == 1
    assert refused.stderr.startswith("cotam: no weights at hf://team/absent")
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "none").exists()
