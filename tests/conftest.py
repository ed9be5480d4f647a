"""Real pictures and the shipped weights, for all tests."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from skimage import data

import codec
from codec.evaluation.distortion import psnr

__all__ = ["psnr", "run_cotam", "shared"]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def cotam() -> codec.Codec:
    return codec.load(device="cpu")


@pytest.fixture(scope="session")
def photo() -> NDArray[np.uint8]:
    """[300, 451, 3]: a cat."""
    return data.chelsea()


@pytest.fixture(scope="session")
def small(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[96, 130, 3]."""
    return np.asarray(Image.fromarray(photo).resize((130, 96)))


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """COTAM_DATA, or a skip with its reason."""
    folder = Path(os.environ.get("COTAM_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("COTAM_DATA is not set and ../shared/data does not exist")
    return folder


def run_cotam(
    *arguments: object,
    stdin: bytes | None = None,
    cwd: Path | None = None,
    backend: str = "onnx",
) -> subprocess.CompletedProcess[bytes]:
    """Run the command as a user does.

    The default backend is ONNX Runtime, because it starts six times as fast. Tests that compare
    bytes with those of their own process use its backend, `torch`.
    """
    command = [sys.executable, "-m", "codec.cli", *map(str, arguments)]
    return subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        cwd=cwd,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COTAM_BACKEND": backend},
    )


def shared(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that is made once for all processes of a test run, by the first that needs it."""
    base = factory.getbasetemp()
    # With xdist, this folder belongs to one process; its parent is shared by all of them.
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / f"shared-{name}"
    finished = folder.with_suffix(".made")
    with FileLock(f"{folder}.lock"):
        if not finished.exists():
            folder.mkdir()
            make(folder)
            finished.touch()
    return folder


@pytest.fixture(scope="session")
def halves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The exported encoder and decoder of the default weights."""

    def make(folder: Path) -> None:
        done = run_cotam("export", "--model", "default", "--out", folder)
        assert done.returncode == 0, done.stderr

    return shared(tmp_path_factory, "halves", make)


@pytest.fixture
def pictures(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    """data/train/{photos,text}, with one file that cannot be decoded."""
    for folder in ("photos", "text"):
        (tmp_path / "data" / "train" / folder).mkdir(parents=True)
        Image.fromarray(photo).save(tmp_path / "data" / "train" / folder / "a.png")
    (tmp_path / "data" / "train" / "photos" / "broken.jpg").write_bytes(b"no picture")
    return tmp_path / "data"
