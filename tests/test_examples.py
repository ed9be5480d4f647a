"""All files of examples/ run as users run them: new processes, real pictures, real sockets."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from tests.conftest import ROOT

EXAMPLES = ROOT / "examples"
MOST_LINES = 40
# The examples that this file runs; test_each_example_has_a_test compares them with the folder.
TESTED = {
    "agent_loop",
    "encode_decode",
    "encode_folder",
    "first_steps",
    "llava",
    "openai_client",
    "qwen",
    "roi",
    "tokens",
    "train_on_your_pictures",
}


def run(name: str, *arguments: object, **environment: str) -> str:
    """Run an example and return its output."""
    done = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture
def picture(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    path = tmp_path / "cat.png"
    Image.fromarray(photo).save(path)
    return path


@pytest.fixture
def file(tmp_path: Path, cotam: codec.Codec, small: NDArray[np.uint8]) -> Path:
    path = tmp_path / "photo.ctm"
    path.write_bytes(cotam.encode(small, tool="learned"))
    return path


def test_each_example_is_short_and_has_a_test() -> None:
    files = [path for path in EXAMPLES.iterdir() if path.suffix in (".py", ".ipynb")]
    assert {path.stem for path in files} == TESTED
    for path in EXAMPLES.glob("*.py"):
        assert len(path.read_text().splitlines()) < MOST_LINES, path.name


def test_encode_decode(picture: Path) -> None:
    output = run("encode_decode", picture)
    assert "tool 'learned'" in output
    assert "preview: 57x38 pixels" in output
    assert Image.open(picture.with_name("cat-decoded.png")).size == (451, 300)


@pytest.mark.slow
def test_encode_folder(picture: Path, tmp_path: Path) -> None:
    (picture.parent / "broken.jpg").write_bytes(b"no picture")
    output = run("encode_folder", picture.parent, tmp_path / "coded")
    assert "broken.jpg: " in output
    assert codec.decode((tmp_path / "coded" / "cat.png.ctm").read_bytes()).size == (451, 300)
    assert not (tmp_path / "coded" / "broken.jpg.ctm").exists()


@pytest.mark.slow
def test_a_region_of_interest_is_sharper(picture: Path) -> None:
    plain, better = run("roi", picture, 120, 40, 260, 210).splitlines()
    before, after = (float(line.split(", ")[1].split(" dB")[0]) for line in (plain, better))
    assert after > before + 0.3


@pytest.mark.slow
def test_tokens(file: Path, data_folder: Path) -> None:
    pytest.importorskip("timm", reason="cotam[clip] is not installed")
    weights = data_folder / "weights" / "deit_tiny_patch16_224.safetensors"
    if not weights.exists():
        pytest.skip("DeiT-Tiny's weights are not there")
    output = run("tokens", file, "timm:deit_tiny_patch16_224", weights)
    assert "197 tokens of width 192" in output
    assert "kept 49 of 196 patches" in output


@pytest.mark.slow
@pytest.mark.parametrize(("name", "family"), [("llava", "llava"), ("qwen", "qwen2_5_vl")])
def test_a_language_model_answers(name: str, family: str, file: Path, tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="cotam[mllm] is not installed")
    from tests import families

    for part in getattr(families, family)():
        part.save_pretrained(tmp_path / "model")
    assert "answer: " in run(name, tmp_path / "model", file, "what is this")


@pytest.mark.slow
def test_openai_client(file: Path) -> None:
    pytest.importorskip("openai", reason="openai is not installed")
    pytest.importorskip("starlette", reason="cotam[serve] is not installed")
    from tests.upstream import Upstream, served

    upstream = Upstream()
    with served(upstream.app()) as address:
        asked = f"{address}/v1", "any", file, "what is this"
        output = run("openai_client", *asked, OPENAI_API_KEY="none")
    assert "answer: " in output
    url = upstream.last["messages"][0]["content"][1]["image_url"]["url"]
    assert url.startswith("data:image/x-cotam;base64,")


@pytest.mark.slow
def test_agent_loop(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if shutil.which("chromium") is None:
        pytest.skip("there is no Chromium on the PATH")
    page = tmp_path / "page.html"
    page.write_text("<input autofocus><p>" + "A line of text.<br>" * 200)
    lines = run("agent_loop", page.as_uri()).splitlines()
    sizes = [int(line.split(": ")[1].split()[0]) for line in lines]
    assert "576 of 576" in lines[0]
    assert max(sizes[1:]) < sizes[0] / 2
    assert "0 of 576" in lines[3]


@pytest.mark.slow
def test_train_on_your_pictures(pictures: Path, tmp_path: Path) -> None:
    pytest.importorskip("pytorch_lightning", reason="cotam[train] is not installed")
    small = ("steps=3", "data.batch=1", "data.size=64", "validation.every=0", "trainer=cpu")
    output = run("train_on_your_pictures", pictures, tmp_path / "run", 5, *small)
    assert "bytes with your weights" in output


@pytest.mark.slow
def test_the_notebook() -> None:
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    notebook = nbformat.read(EXAMPLES / "first_steps.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": ROOT}}).execute()
    printed = [
        output["text"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if output["output_type"] == "stream"
    ]
    assert any("every pixel equal" in text for text in printed)
