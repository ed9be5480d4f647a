"""A user's own weights, found by path, by fingerprint, in a folder, or on the hub."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.integrations import pillow
from codec.weights import checkpoint, shipped
from tests.conftest import ROOT, run_cotam


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that are not shipped: those of tiny with another skip rule."""
    weights = checkpoint.load("tiny")
    other = checkpoint.Checkpoint(weights.arrays, weights.metadata | {"skip_below": 6})
    path = tmp_path_factory.mktemp("own") / "mine.safetensors"
    checkpoint.save(other, path)
    return path


@pytest.fixture(scope="module")
def file(own: Path) -> bytes:
    ramp = np.arange(64 * 64 * 3, dtype=np.uint32).reshape(64, 64, 3) % 251
    return codec.load(own).encode(ramp.astype(np.uint8), tool="learned")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Registered weights last as long as the process, so they are removed after each test."""
    yield
    shipped._registered.clear()


def test_unknown_weights_are_refused_with_the_ways_to_find_them(file: bytes) -> None:
    with pytest.raises(codec.WrongModel, match="COTAM_WEIGHTS") as caught:
        codec.decode(file)
    assert "register_weights" in str(caught.value)


def test_registered_weights_are_found_by_fingerprint(own: Path, file: bytes) -> None:
    (fingerprint,) = codec.register_weights(own.parent)
    assert codec.inspect(file).fingerprint == fingerprint
    assert codec.decode(file, output="array").shape == (64, 64, 3)
    assert codec.load("mine").fingerprint == fingerprint
    pillow.register()
    with Image.open(io.BytesIO(file)) as image:
        assert image.convert("RGB").size == (64, 64)


@pytest.mark.slow
def test_the_environment_names_them_for_every_process(
    own: Path, file: bytes, tmp_path: Path
) -> None:
    (tmp_path / "a.ctm").write_bytes(file)
    refused = run_cotam("decode", tmp_path / "a.ctm")
    assert refused.returncode == 1
    assert b"COTAM_WEIGHTS" in refused.stderr
    environment = os.environ | {"COTAM_WEIGHTS": str(own.parent), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "codec.cli", "decode", "a.ctm"]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=120)
    assert (tmp_path / "a.png").is_file()


def test_shipped_names_win_over_own_files(own: Path, tmp_path: Path) -> None:
    (tmp_path / "small.safetensors").write_bytes(own.read_bytes())
    codec.register_weights(tmp_path)
    assert codec.load("small").fingerprint == checkpoint.load("small").fingerprint.hex()


@pytest.mark.parametrize("content", [b"", b"not weights"])
def test_bad_weights_are_not_registered(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(codec.UnknownModel):
        codec.register_weights(tmp_path / "missing.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(content)
    with pytest.raises(codec.UnknownModel):
        codec.register_weights(tmp_path)
    assert shipped.own_files() == []


def test_more_weights_come_as_a_package_of_their_own(
    tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    """Weights in the package of checkpoints/setup.py are found when it is installed."""
    package = tmp_path / "site" / "cotam_models"
    package.mkdir(parents=True)
    (package / "tiny.safetensors").write_bytes(checkpoint.find("tiny").read_bytes())
    script = (
        "from codec.weights import shipped; from pathlib import Path; "
        "shipped.CHECKPOINTS = Path('nowhere'); import codec; "
        "print([one['name'] for one in codec.models()])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT), str(package.parent)))}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, check=True, timeout=60
    )
    assert done.stdout.decode().strip() == "['tiny']"
