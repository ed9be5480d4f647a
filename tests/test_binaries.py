"""The executables, built and run in an environment without Python and PyTorch."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.export.binaries import build_both, ready
from codec.weights import checkpoint
from tests.test_palette_tool import drawing

pytest.importorskip("PyInstaller", reason="cotam[dev] is not installed")


@pytest.fixture(scope="module")
def executables(halves: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bin")
    with pytest.MonkeyPatch.context() as patch:
        # Compressing well takes two thirds of a build's time.
        patch.setenv("PYINSTALLER_ZLIB_COMPRESSION_LEVEL", "1")
        assert all(made.stat().st_size < 90e6 for made in build_both(halves, out))
    return out


def alone(program: Path, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """Run an executable without environment variables and PATH, in another folder."""
    return subprocess.run(
        [program, *map(str, arguments)],
        cwd=cwd,
        env={},
        capture_output=True,
        timeout=120,
        check=False,
    )


@pytest.mark.slow
def test_graphs_are_made_anew_for_weights_that_code_otherwise(halves: Path, tmp_path: Path) -> None:
    weights = checkpoint.load()
    assert ready(halves, weights)
    assert not ready(
        halves, replace(weights, metadata=weights.metadata | {"slope": weights.slope + 1})
    )
    assert not ready(tmp_path, weights)


@pytest.mark.slow
def test_they_run_where_there_is_nothing(
    executables: Path, photo: NDArray[np.uint8], tmp_path: Path, cotam: codec.Codec
) -> None:
    for name in ("a", "b"):
        Image.fromarray(photo).save(tmp_path / f"{name}.png")
    encode, decode = executables / "cotam-encode", executables / "cotam-decode"
    done = alone(encode, "a.png", "b.png", "-o", "coded", "-q", 40, "-j", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    data = (tmp_path / "coded" / "a.ctm").read_bytes()
    assert data == (tmp_path / "coded" / "b.ctm").read_bytes()
    assert alone(decode, "coded/a.ctm", "-o", "back.png", cwd=tmp_path).returncode == 0
    assert (
        alone(
            decode, "coded/a.ctm", "--level", "preview", "-o", "small.png", cwd=tmp_path
        ).returncode
        == 0
    )
    with Image.open(tmp_path / "back.png") as back, Image.open(tmp_path / "small.png") as small:
        apart = np.abs(np.asarray(back).astype(int) - cotam.decode(data, output="array"))
        assert (apart <= 1).mean() >= 0.999
        assert small.size == (57, 38)
    drawing().save(tmp_path / "shot.png")
    assert alone(encode, "shot.png", cwd=tmp_path).returncode == 0
    assert alone(decode, "shot.ctm", "-o", "shot-back.png", cwd=tmp_path).returncode == 0
    shot = (tmp_path / "shot.ctm").read_bytes()
    assert codec.inspect(shot).tool in ("av1", "palette")
    with Image.open(tmp_path / "shot-back.png") as back:
        assert np.array_equal(np.asarray(back), cotam.decode(shot, output="array"))
    for program, arguments, status in (
        (decode, ("a.png", "-o", "c.png"), 1),
        (encode, ("none.png",), 1),
        (encode, ("a.png", "-q", 200), 2),
    ):
        failed = alone(program, *arguments, cwd=tmp_path)
        assert failed.returncode == status
        assert failed.stderr.startswith(b"cotam: ")
        assert b"Traceback" not in failed.stderr
