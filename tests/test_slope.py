"""Slopes: at the same quality, pictures that cost more than usual get coarser steps."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter

import codec
from codec.evaluation import codecs
from codec.evaluation.codecs.variants import SAME_QP, Setup, identity, system_codec
from codec.guidance import Guidance, importance
from codec.guidance.rate_estimate import shipped
from codec.info import qp_field_of
from codec.quality import quality_to_qp
from codec.weights.checkpoint import Checkpoint, save
from tests.conftest import run_cotam

SLOPE = 7.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("slope")


@pytest.fixture(scope="module")
def sloped(folder: Path, cotam: codec.Codec) -> codec.Codec:
    """The default weights with another slope."""
    return with_slope(cotam, folder, SLOPE)


def with_slope(cotam: codec.Codec, folder: Path, slope: float) -> codec.Codec:
    stored = cotam.backend.checkpoint
    place = folder / f"slope{slope:g}.safetensors"
    save(Checkpoint(stored.arrays, stored.metadata | {"slope": slope}), place)
    return codec.load(place, "cpu")


def test_busy_pictures_get_coarser_steps_than_plain_ones(
    sloped: codec.Codec, photo: NDArray[np.uint8]
) -> None:
    noise = np.random.default_rng(1).normal(0, 30, photo.shape)
    plain = np.asarray(Image.fromarray(photo).filter(ImageFilter.GaussianBlur(4)))
    busy = np.clip(photo + noise, 0, 255).astype(np.uint8)
    qps = [
        int(qp_field_of(sloped.encode(p, tool="learned", quality=40, guide="uniform"))[0, 0])
        for p in (plain, photo, busy)
    ]
    assert qps[0] > qps[1] > qps[2]
    assert qps[0] > quality_to_qp(40) > qps[2]


def test_no_slope_and_maps_by_hand_mean_what_they_say(
    cotam: codec.Codec, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    flat = with_slope(cotam, tmp_path, 0.0)
    assert qp_field_of(flat.encode(photo, tool="learned", quality=40, guide="uniform"))[
        0, 0
    ] == quality_to_qp(40)
    assert (qp_field_of(cotam.encode(photo, qp_map=[[33]])) == 33).all()


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@example(638, 21.4375, 14.0)
@given(st.integers(0, 10**6), st.floats(0, 120), st.floats(0, 30))
def test_a_larger_quality_is_never_coarser(seed: int, amplitude: float, slope: float) -> None:
    random = np.random.default_rng(seed)
    smooth = np.asarray(
        Image.fromarray(random.integers(0, 255, (3, 4, 3), np.uint8)).resize((80, 48))
    )
    pixels = np.clip(smooth + random.normal(0, amplitude, smooth.shape), 0, 255).astype(np.uint8)
    guidance = Guidance(importance.uniform, 0.5, pixels, min(slope, 2 * SLOPE))
    qps = [guidance.base_qp(qp) for qp in range(64)]
    assert all(a <= b for a, b in pairwise(qps))
    assert (min(qps) >= 0, qps[-1]) == (True, 63)


def test_sizes_wished_for_are_met_as_ever(sloped: codec.Codec, photo: NDArray[np.uint8]) -> None:
    assert len(sloped.encode(photo, tool="learned", target_bytes=6000)) in range(5400, 6001)


@pytest.mark.slow
def test_the_slope_is_asked_for_by_every_door(
    sloped: codec.Codec, cotam: codec.Codec, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    wanted = sloped.encode(photo, tool="learned", quality=40)
    assert (
        cotam.encode(photo, tool="learned", quality=40, slope=SLOPE)
        == wanted
        != cotam.encode(photo, tool="learned", quality=40, slope=0)
    )
    assert sloped.encode(photo, tool="learned", quality=40, slope=0) == cotam.encode(
        photo, tool="learned", quality=40, slope=0
    )
    picture, coded = tmp_path / "photo.png", tmp_path / "photo.ctm"
    Image.fromarray(photo).save(picture)
    done = run_cotam("encode", picture, "-o", coded, "-q", 40, "--slope", SLOPE)
    assert (done.returncode, coded.read_bytes()) == (0, wanted), done.stderr
    done = run_cotam("encode", picture, "-o", tmp_path / "b.ctm", "--slope", 99)
    assert done.returncode == 2
    assert b"between 0 and 14" in done.stderr
    assert not (tmp_path / "b.ctm").exists()
    with pytest.raises(codec.BadArgument):
        cotam.encode(photo, tool="learned", slope=-1)


def test_a_guide_keeps_the_size(sloped: codec.Codec, photo: NDArray[np.uint8]) -> None:
    sizes = [
        len(sloped.encode(photo, tool="learned", quality=50, guide=guide))
        for guide in ("uniform", "student")
    ]
    assert sizes[1] == pytest.approx(sizes[0], rel=0.03)


def test_the_benchmark_tells_slopes_apart(
    sloped: codec.Codec, cotam: codec.Codec, photo: NDArray[np.uint8], folder: Path
) -> None:
    flat = with_slope(cotam, folder, 0.0)
    setups = [
        Setup(str(folder / f"slope{slope:g}.safetensors"), folder, 0.5) for slope in (0, SLOPE)
    ]
    assert identity("uniform", setups[0]) != identity("uniform", setups[1])
    assert identity(SAME_QP, setups[0]) == identity(SAME_QP, setups[1])
    files = [f"cotam:{setup.model}" for setup in setups]
    identities = [codecs.codec_under_test(name).identity for name in files]
    assert identities[0] != identities[1]
    assert system_codec(SAME_QP, setups[1]).encode(photo, 40) == flat.encode(
        photo, tool="learned", quality=40, guide="uniform"
    )


def test_without_a_usual_cost_nothing_is_unusual(photo: NDArray[np.uint8]) -> None:
    guidance = Guidance(importance.uniform, 0.5, photo, SLOPE)
    guidance.rate = replace(shipped(), usual=None)
    assert guidance.base_qp(30) == 30
