"""The code blocks of docs/data.md run unchanged, with the libraries that they name."""

from __future__ import annotations

import copy
import importlib
import importlib.util
import io
import os
import pickle
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.integrations import loaders
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "data.md").read_text()
BLOCKS: dict[str, str] = dict(re.findall(r"<!-- code:(\w+) -->\n```python\n(.*?)```", PAGE, re.S))


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    yield
    loaders.unregister()


@pytest.fixture
def folder(tmp_path: Path, small: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with coded/{cat,dog} and shard.tar."""
    cotam = codec.load("tiny", "cpu")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    files = {"cat/1": small, "dog/2": small[:64]}
    with tarfile.open(tmp_path / "shard.tar", "w") as shard:
        for number, (name, pixels) in enumerate(files.items()):
            data = cotam.encode(pixels, tool="learned", quality=60)
            path = tmp_path / "coded" / f"{name}.ctm"
            path.parent.mkdir(parents=True)
            path.write_bytes(data)
            for key, part in (("ctm", data), ("cls", str(number).encode())):
                entry = tarfile.TarInfo(f"{number}.{key}")
                entry.size = len(part)
                shard.addfile(entry, io.BytesIO(part))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(name: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "page"}
    loaders.register()
    exec(compile(BLOCKS[name], f"docs/data.md:{name}", "exec"), names)
    return names


def pixels_of(path: str | Path) -> NDArray[np.uint8]:
    return codec.decode(Path(path).read_bytes(), output="array")


def test_every_block_is_tested() -> None:
    assert len(BLOCKS) == PAGE.count("```python")
    tested = set(re.findall(r'(?:run|alone)\("(\w+)"', Path(__file__).read_text()))
    assert set(BLOCKS) - {"register"} == tested


@pytest.fixture
def hub(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Hugging Face's `datasets`, with its cache in the test's folder."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    return datasets


@pytest.mark.slow
def test_datasets_take_paths_bytes_and_parquet(hub: Any, folder: Path) -> None:
    names = run("datasets")
    by_path = names["by_path"].cast_column("image", hub.Image())
    for number, path in enumerate(names["files"]):
        for rows in (by_path, names["pictures"], names["back"]):
            np.testing.assert_array_equal(np.asarray(rows[number]["image"]), pixels_of(path))
    assert names["widths"]["width"] == [130, 130]
    for rows in (names["back"], names["widths"]):
        kept = rows.cast_column("image", hub.Image(decode=False))
        assert [row["image"]["bytes"] for row in kept] == [
            path.read_bytes() for path in names["files"]
        ]


def test_imagefolder_finds_files_by_suffix(hub: Any, folder: Path) -> None:
    names = run("imagefolder")
    assert names["folder"].features["label"].names == ["cat", "dog"]
    assert len(names["folder"]) == 2
    found = hub.load_dataset(str(folder / "coded"), split="train")
    assert found[0]["image"].size == (130, 96)


def test_hugging_face_reads_shards(hub: Any, folder: Path) -> None:
    names = run("webdataset_hf")
    np.testing.assert_array_equal(np.asarray(names["rows"][0]["ctm"]), pixels_of("coded/cat/1.ctm"))


def test_timm_finds_files_by_suffix(folder: Path) -> None:
    pytest.importorskip("timm")
    names = run("timm")
    assert len(names["images"]) == 2
    np.testing.assert_array_equal(np.asarray(names["picture"]), pixels_of("coded/cat/1.ctm"))


def test_torchvision_finds_files_by_suffix(folder: Path) -> None:
    pytest.importorskip("torchvision")
    names = run("torchvision")
    assert [label for _, label in names["images"].samples] == [0, 1]
    assert names["images"][1][0].shape == (3, 64, 64)


@pytest.mark.slow
def test_spawned_workers_decode(folder: Path) -> None:
    """The block runs as a program. Its workers are new processes without registered plugins."""
    pytest.importorskip("torchvision")
    program = folder / "program.py"
    program.write_text(f"{BLOCKS['register']}\n{BLOCKS['torchvision']}")
    done = subprocess.run(
        [sys.executable, str(program)],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("torch.Size([2, 3, 64, 64]) tensor([0, 1])")


def test_qwen_vl_utils_load_files(folder: Path) -> None:
    utils = pytest.importorskip("qwen_vl_utils")
    names = run("qwen")
    assert names["videos"] is None
    assert len(names["images"]) == 2
    path = folder / "coded" / "cat" / "1.ctm"
    for source in (path.as_uri(), Image.open(path)):
        seen = utils.fetch_image({"image": source})
        np.testing.assert_array_equal(np.asarray(seen), np.asarray(names["images"][0]))


def test_webdataset_decodes_shards(folder: Path) -> None:
    pytest.importorskip("webdataset")
    names = run("webdataset")
    assert (names["picture"].size, names["label"]) == ((130, 64), 1)


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))]
)
def test_a_lazy_picture_is_copied(copied: Any, folder: Path) -> None:
    """Copied as workers do to return it, and as qwen_vl_utils does for the picture of a URL."""
    loaders.register()
    stream = io.BytesIO(Path("coded/cat/1.ctm").read_bytes())
    other = copied(Image.open(stream))
    stream.close()
    np.testing.assert_array_equal(np.asarray(other), pixels_of("coded/cat/1.ctm"))


LISTS: dict[str, tuple[str, Callable[[Any], Sequence[str]]]] = {
    "torchvision": ("torchvision.datasets.folder", lambda module: module.IMG_EXTENSIONS),
    "timm": ("timm.data.readers.img_extensions", lambda module: module.get_img_extensions()),
    "datasets": (
        "datasets.packaged_modules",
        lambda module: module.imagefolder.ImageFolder.EXTENSIONS,
    ),
}


@pytest.mark.parametrize("first", ["the library", "register"])
@pytest.mark.parametrize("host", LISTS)
def test_lists_of_suffixes_are_extended_and_restored(
    host: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Works in any order of importing the library and calling `register`."""
    pytest.importorskip(host)
    name, suffixes = LISTS[host]
    module = importlib.import_module(name)
    before = list(suffixes(module))
    assert ".ctm" not in before
    if first == "register":
        monkeypatch.delitem(sys.modules, name)
        loaders.register()
        assert importlib.util.find_spec(name) is not None  # finds it without importing it
        module = importlib.import_module(name)
        assert module.__loader__ is module.__spec__.loader  # type: ignore[union-attr]
        assert type(module.__loader__).__module__ != loaders.__name__
    else:
        loaders.register()
    assert not loaders.register()
    assert list(suffixes(module)) == [*before, ".ctm"]
    loaders.unregister()
    assert list(suffixes(module)) == before
    loaders.unregister()


@pytest.mark.slow
def test_register_imports_no_library() -> None:
    program = """
import sys
from codec.integrations import loaders
assert loaders.register()
assert not {"torch", "torchvision", "timm", "datasets"} & set(sys.modules)
"""
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
