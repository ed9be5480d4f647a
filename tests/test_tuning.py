"""Files tuned to a tower have smaller token errors, and everything else stays the same.

The towers are real classes, with random weights if these are sufficient.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.cli.commands.tuning import tuner
from codec.errors import BadArgument, TooLarge
from codec.evaluation.codecs.variants import Setup, identity, system_codec
from codec.evaluation.judges.deit import DeitJudge, load_deit
from codec.info import qp_field_of
from codec.networks.prior import scale_of, scale_table
from codec.towers import Tower, load_tower
from codec.tuning import STEPS, Tuner, gaussian_bits, load_tuner, picture
from tests.conftest import ROOT, run_cotam
from training.losses.likelihoods import GaussianDensity

NAME = "timm:deit_tiny_patch16_224"


@pytest.fixture(scope="module")
def tower() -> Tower:
    """The real class with random weights."""
    torch.manual_seed(0)
    return load_tower(NAME, "random")


@pytest.mark.slow
def test_a_tuned_file_is_nearer_to_the_original_for_its_tower(
    cotam: codec.Codec, photo: NDArray[np.uint8], data_folder: Path
) -> None:
    judge = DeitJudge(data_folder)  # judges the centre only, while tuning uses the whole picture
    plain, tuned = (
        cotam.encode(photo, tool="learned", quality=30),
        cotam.encode(photo, quality=30, tune=Tuner(load_deit(data_folder), 8)),
    )
    before, after = (
        judge.judge(photo, cotam.decode(data, output="array"), None)["token_mse_last"]
        for data in (plain, tuned)
    )
    assert len(tuned) < 1.02 * len(plain)
    assert after < 0.9 * before


def test_everything_else_in_the_file_stays(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    plain = cotam.encode(small, tool="learned", quality=40)
    # A network with random weights may find no improvement in two steps.
    tuned = cotam.encode(small, quality=40, tune=load_tuner("features", None, 2))
    assert tuned != plain
    assert np.array_equal(qp_field_of(tuned), qp_field_of(plain))
    assert codec.inspect(tuned).model == codec.inspect(plain).model
    assert codec.decode(tuned).size == (small.shape[1], small.shape[0])


@pytest.mark.slow
def test_tuning_repeats_itself_and_knows_where_it_is_called(
    cotam: codec.Codec, small: NDArray[np.uint8], tower: Tower
) -> None:
    first = cotam.encode(small, quality=40, tune=Tuner(tower, 2))
    with torch.inference_mode():
        assert cotam.encode(small, quality=40, tune=Tuner(tower, 2)) == first
        loaded_there = codec.load(device="cpu")
    with torch.no_grad():
        assert loaded_there.encode(small, quality=40, tune=Tuner(tower, 1)).startswith(first[:4])
    assert all(p.grad is None for p in (*tower.parameters(), *cotam.backend.networks.parameters()))  # type: ignore[attr-defined]


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), quality=st.integers(0, 100))
def test_any_size_can_be_tuned(
    cotam: codec.Codec, tower: Tower, height: int, width: int, quality: int
) -> None:
    pixels = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
    full = cotam.encode_full(pixels, quality=quality, tune=Tuner(tower, 1))
    assert cotam.decode(full.data, output="array").shape == pixels.shape
    assert np.array_equal(full.y_hat, cotam.decode(full.data, level="latents"))
    assert np.isfinite(full.y_hat).all()


@pytest.mark.slow
@pytest.mark.parametrize("quality", [0, 50, 100])
def test_a_plain_picture_stays_plain(cotam: codec.Codec, tower: Tower, quality: int) -> None:
    grey = np.full((64, 64, 3), 128, np.uint8)
    plain, tuned = (
        cotam.encode(grey, tool="learned", quality=quality),
        cotam.encode(grey, quality=quality, tune=Tuner(tower, 5)),
    )
    assert len(tuned) < len(plain) + 20
    off = [
        np.abs(cotam.decode(data, output="array").astype(int) - 128).max()
        for data in (plain, tuned)
    ]
    assert off[1] <= off[0] + 1


@pytest.mark.slow
def test_target_sizes_and_maps_are_met(
    cotam: codec.Codec, small: NDArray[np.uint8], tower: Tower
) -> None:
    small = small[:64, :64]
    assert len(cotam.encode(small, target_bytes=400, tune=Tuner(tower, 1))) <= 400
    assert (
        qp_field_of(cotam.encode(small, qp_map=np.array([[33]]), tune=Tuner(tower, 1))) == 33
    ).all()


@pytest.mark.slow
def test_no_bits_are_no_trouble(
    cotam: codec.Codec, small: NDArray[np.uint8], tower: Tower, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "gaussian_bits", lambda symbols, index: 0 * symbols)
    with np.errstate(invalid="raise"):
        assert np.isfinite(cotam.encode_full(small, quality=40, tune=Tuner(tower, 2)).y_hat).all()


def test_bits_are_those_of_a_normal_distribution() -> None:
    symbols, index = torch.meshgrid(torch.arange(-30.0, 31), torch.arange(64.0), indexing="ij")
    wanted = -GaussianDensity()(symbols, scale_of(index)).log2()
    likely = wanted < 16
    assert torch.allclose(
        gaussian_bits(symbols, index)[likely], wanted[likely], rtol=1e-3, atol=1e-3
    )
    assert torch.equal(scale_of(index[0]), scale_table())


def test_bad_wishes_are_refused(cotam: codec.Codec, small: NDArray[np.uint8], tower: Tower) -> None:
    for steps in (0, -1, 1001):
        with pytest.raises(BadArgument, match="steps"):
            Tuner(tower, steps)
    frugal = codec.Codec(cotam.backend, limit_memory=10 << 20)
    with pytest.raises(TooLarge, match="without tuning"):
        frugal.encode(small, tune=tower)
    with pytest.raises(codec.UnknownModel):
        cotam.encode(small, tune="no-such-tower")


@pytest.mark.slow
def test_exported_halves_have_no_gradients(
    halves: Path, small: NDArray[np.uint8], tower: Tower
) -> None:
    with pytest.raises(BadArgument, match="gradients"):
        codec.load(halves / "encoder").encode(small, tune=tower)


@pytest.mark.slow
def test_the_command(tmp_path: Path, small: NDArray[np.uint8]) -> None:
    source, target = tmp_path / "a.png", tmp_path / "a.ctm"
    Image.fromarray(small).save(source)
    wish = ("--tune", NAME, "--tune-weights", "random", "--tune-steps", 2)
    done = run_cotam("encode", source, "-o", target, "--json", *wish)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seconds"]["tune"] > 0
    assert codec.decode(target.read_bytes()).size == (130, 96)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("wish", "status", "says"),
    [
        (("--tune-weights", "random"), 2, b"need --tune"),
        (("--tune-steps", 5), 2, b"need --tune"),
        (("--tune", "--tune-steps", 0), 2, b"x>=1"),
        (("--tune", NAME, "--tune-weights", "random", "--tune-steps", 1001), 2, b"1 to 1000 steps"),
        (("--tune", "no-such-tower"), 1, b"no model no-such-tower"),
        (("--tune", NAME, "--tune-weights", "openai"), 1, b"no --tune"),
    ],
)
def test_the_command_refuses(
    wish: tuple[object, ...], status: int, says: bytes, tmp_path: Path, small: NDArray[np.uint8]
) -> None:
    source = tmp_path / "a.png"
    Image.fromarray(small).save(source)
    done = run_cotam("encode", source, *wish)
    assert done.returncode == status
    assert says in done.stderr
    assert b"Traceback" not in done.stderr
    assert not (tmp_path / "a.ctm").exists()


@pytest.mark.slow
def test_the_benchmark_tunes(data_folder: Path, small: NDArray[np.uint8]) -> None:
    small = small[:64, :64]
    setup = Setup("default", data_folder, 0.5)
    plain, tuned = (system_codec(name, setup).encode(small, 30.0) for name in ("default", "tuned"))
    assert plain != tuned
    assert identity("tuned", setup)[0].endswith(f"{STEPS} steps")
    assert identity("tuned", setup) != identity("default", setup)


@pytest.mark.slow
def test_the_page_runs(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    small = small[:64, :64]
    (code,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "tuning.md").read_text(), re.DOTALL
    )
    assert "steps=60" in code
    code = code.replace("steps=60", "steps=3")
    names: dict[str, Any] = {
        "cotam": cotam,
        "image": small,
        "tower_name": NAME,
        "tower_weights": "random",
    }
    exec(compile(code, "tuning.md", "exec"), names)
    assert codec.decode(names["data"]).size == (64, 64)


def test_a_tower_by_name_is_kept() -> None:
    assert load_tuner(NAME, "random", 3) is load_tuner(NAME, "random", 3)


def test_the_command_loads_its_tower_once(cotam: codec.Codec) -> None:
    assert tuner((NAME, "random", None)) is tuner((NAME, "random", None), cotam.backend)
