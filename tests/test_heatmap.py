"""The heatmap on real files, through the API and through the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.coding.latent_grid import latent_grid
from codec.errors import BadArgument, CodecError
from codec.info import qp_field_of
from codec.io import heatmap
from tests.conftest import ROOT, run_cotam

STAIRS = np.repeat([[14, 24, 34, 44]], 3, axis=0)


@pytest.fixture(scope="module")
def stairs(cotam: codec.Codec, small: NDArray[np.uint8]) -> bytes:
    """A file whose QP rises from left to right."""
    return cotam.encode(small, qp_map=STAIRS)


@pytest.fixture
def folder(tmp_path: Path, stairs: bytes) -> Path:
    """A folder with a.ctm and a truncated file, cut.ctm."""
    (tmp_path / "a.ctm").write_bytes(stairs)
    (tmp_path / "cut.ctm").write_bytes(stairs[:-3])
    return tmp_path


def drawn(cotam: codec.Codec, data: bytes) -> Image.Image:
    decoded = cotam.decode_full(data, want_bits=True)
    assert decoded.bits is not None
    return heatmap.panels(decoded.picture.pixels, decoded.bits, qp_field_of(data))


def test_the_qp_field_is_the_encoders(
    cotam: codec.Codec, stairs: bytes, small: NDArray[np.uint8]
) -> None:
    rows, cols = latent_grid(*small.shape[:2])
    field = qp_field_of(stairs)
    assert field.shape == (rows, cols)
    assert field.dtype == np.int64
    np.testing.assert_array_equal(
        field, STAIRS[np.arange(rows) * 3 // rows][:, np.arange(cols) * 4 // cols]
    )
    uniform = qp_field_of(cotam.encode(small, tool="learned", quality=40, guide="uniform"))
    assert uniform.shape == (rows, cols)
    assert set(uniform.ravel()) == {25}


def test_colours_follow_the_qp(cotam: codec.Codec, stairs: bytes) -> None:
    """A picture of 130x96 is enlarged by 3, and the QP panel is the second of three."""
    sheet = np.asarray(drawn(cotam, stairs)).astype(int)
    step = (sheet.shape[1] - heatmap.GAP) // 3
    top = heatmap.GAP + heatmap._above(16)
    panel = sheet[top : top + 288, heatmap.GAP + step : heatmap.GAP + step + 390]
    assert (panel[[0, 0, -1, -1], [0, -1, 0, -1]] != 255).any(1).all()
    means = [part.mean((0, 1)) for part in np.array_split(panel, [96, 192, 288], axis=1)]
    assert means[0][2] > means[0][1]
    assert means[-1][1] > means[-1][2] + 40
    greens = [mean[1] for mean in means]
    assert greens == sorted(greens)
    assert greens[-1] > greens[0] + 60


def test_colours_keep_their_order_in_grey() -> None:
    luma = heatmap.colours(np.linspace(0, 1, 256)) @ (0.299, 0.587, 0.114)
    assert (np.diff(luma) > 0).all()


def test_a_scale_and_its_inverse_agree() -> None:
    for scale in (heatmap.Scale(20, 45), heatmap.Scale(2, 590, 0.5), heatmap.Scale(-1.5, 0)):
        middle = scale.value(0.5)
        positions = scale.positions(np.array([scale.low, middle, scale.high, scale.high + 1]))
        np.testing.assert_allclose(positions, [0, 0.5, 1, 1], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("height", "width", "wide"),
    [(1, 1, True), (3, 1500, True), (900, 1, False), (40, 300, False), (300, 200, True)],
)
def test_any_size_can_be_drawn(
    cotam: codec.Codec, photo: NDArray[np.uint8], height: int, width: int, wide: bool
) -> None:
    pixels = np.asarray(Image.fromarray(photo).resize((width, height)))
    sheet = drawn(cotam, cotam.encode(pixels, tool="learned", quality=30))
    assert sheet.mode == "RGB"
    assert (sheet.width > sheet.height) == wide or height > 4 * width
    assert max(sheet.size) <= 3 * (heatmap.LARGEST + 150)
    assert max(sheet.size) < 4 * min(sheet.size)


def test_large_pictures_shrink_and_importance_has_a_panel(photo: NDArray[np.uint8]) -> None:
    pixels = np.asarray(Image.fromarray(photo).resize((1999, 1333)))
    grid = latent_grid(1333, 1999)
    bits, qp = np.ones(grid, np.float32), np.full(grid, 34)
    three = heatmap.panels(pixels, bits, qp)
    assert three.width == 3 * (heatmap.LARGEST + heatmap.GAP) + heatmap.GAP
    four = heatmap.panels(pixels, np.zeros(grid), qp, np.linspace(-1, 1, 12).reshape(3, 4))
    assert four.width == 2 * (heatmap.LARGEST + heatmap.GAP) + heatmap.GAP
    assert four.height > three.height


def test_wrong_arguments_are_refused(small: NDArray[np.uint8]) -> None:
    grid = latent_grid(*small.shape[:2])
    bits, qp = np.ones(grid), np.full(grid, 30)
    for arguments in (
        (small[:, :, 0], bits, qp),
        (small / 255.0, bits, qp),
        (small, bits[1:], qp),
        (small, -bits, qp),
        (small, bits * np.nan, qp),
        (small, bits, qp + 40),
        (small, bits, qp[0]),
        (small, bits, qp, np.full((2, 2), np.inf)),
        (small, bits, qp, np.ones((0, 2))),
    ):
        with pytest.raises(BadArgument):
            heatmap.panels(*arguments)
    with pytest.raises(CodecError):
        qp_field_of(b"nothing")


@pytest.mark.slow
def test_the_command_draws_and_counts(folder: Path, cotam: codec.Codec, stairs: bytes) -> None:
    arguments = ("inspect", "a.ctm", "--heatmap", "out.png", "--json")
    done = run_cotam(*arguments, cwd=folder, backend="torch")
    assert done.returncode == 0, done.stderr
    entry = json.loads(done.stdout)
    info = json.loads(run_cotam("info", "a.ctm", "--json", cwd=folder).stdout)[0]
    assert entry.items() >= info.items()
    assert (entry["qp_min"], entry["qp_max"], entry["latent_grid"]) == (14, 44, [6, 9])
    assert entry["map_share"] == pytest.approx(info["sections"]["qp map"] / len(stairs), abs=1e-4)
    assert entry["bits_mean"] * 54 == pytest.approx(entry["bits_sum"], abs=1)
    assert entry["bits_mean"] < entry["bits_largest"] < entry["bits_sum"] < 8 * len(stairs)
    with Image.open(folder / "out.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(drawn(cotam, stairs)))
    before = (folder / "out.png").read_bytes()
    again = run_cotam("inspect", "a.ctm", "--heatmap", "out.png", "--no-overwrite", cwd=folder)
    assert again.returncode == 1
    assert b"exists already" in again.stderr
    assert (folder / "out.png").read_bytes() == before
    piped = run_cotam("inspect", "-", "--heatmap", "-", stdin=stairs, backend="torch")
    assert piped.stdout == before
    assert b"bits largest" in piped.stderr


def test_without_a_heatmap_no_torch_is_needed(folder: Path) -> None:
    script = (
        "import sys; from codec.cli.main import app; app(sys.argv[1:], standalone_mode=False); "
        "assert 'torch' not in sys.modules"
    )
    command = [sys.executable, "-c", script, "inspect", str(folder / "a.ctm")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "qp min       14" in done.stdout
    assert "bits" not in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["cut.ctm", "--heatmap", "out.png"], 1),
        (["cut.ctm"], 1),
        (["missing.ctm", "--heatmap", "out.png"], 1),
        (["a.ctm", "--heatmap", "out.nonsense"], 1),
        (["a.ctm", "--heatmap", "out.png", "--model", "nobody"], 1),
        (
            [
                "a.ctm",
                "--heatmap",
                "out.png",
                "--model",
                str(ROOT / "tests" / "golden" / "toy.safetensors"),
            ],
            1,
        ),
        (["a.ctm", "--heatmap", "out.png", "--limit-pixels", "100"], 1),
        (["a.ctm", "--heatmap", "out.png", "--device", "toaster"], 2),
    ],
)
def test_errors_are_one_sentence(folder: Path, arguments: list[str], status: int) -> None:
    before = sorted(folder.rglob("*"))
    done = run_cotam("inspect", *arguments, cwd=folder)
    assert done.returncode == status, done.stderr
    assert done.stderr.startswith(b"cotam: ")
    assert done.stderr.count(b"\n") == 1
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""
    assert sorted(folder.rglob("*")) == before


def test_debug_shows_the_traceback(folder: Path) -> None:
    assert b"Traceback" in run_cotam("inspect", "cut.ctm", "--debug", cwd=folder).stderr
