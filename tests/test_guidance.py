"""Guidance: importance becomes a rate-neutral QP map, in all interfaces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage import data

import codec
from codec.bitstream import container, qp_map
from codec.errors import BadArgument, GuideUnavailable
from codec.guidance import DEFAULT_GUIDE, Importance, choose
from codec.guidance.clip import ClipGuide
from codec.guidance.rate_estimate import _product, energies, shipped
from codec.guidance.student import small_copy
from codec.guidance.student_torch import load_student
from codec.info import qp_field_of
from codec.towers import load_tower
from codec.weights.checkpoint import Checkpoint, save
from tests.conftest import run_cotam

maps = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, max_side=30),
    elements=st.floats(0, 1e6, width=32, allow_subnormal=False),
)


@pytest.mark.parametrize(
    "bad",
    [
        [[np.nan, 1]],
        [[-1.0, 2]],
        np.zeros((0, 3)),
        np.zeros(4),
        [[1, np.inf]],
        [["a"]],
        [[1, 2], [3]],
    ],
    ids=["nan", "negative", "empty", "one axis", "infinite", "text", "ragged"],
)
def test_bad_maps_are_refused(cotam: codec.Codec, small: NDArray[np.uint8], bad: object) -> None:
    with pytest.raises(BadArgument):
        cotam.encode(small, tool="learned", importance=bad)


def test_strength_zero_and_flat_maps_are_uniform_byte_for_byte(
    cotam: codec.Codec, photo: NDArray[np.uint8]
) -> None:
    plain = cotam.encode(photo, tool="learned", quality=40, guide="uniform")
    assert cotam.encode(photo, tool="learned", quality=40, guide="student", strength=0) == plain
    assert cotam.encode(photo, tool="learned", quality=40, importance=np.full((5, 7), 0.3)) == plain
    assert container.read(plain, 10**6).qp_map is None
    assert cotam.encode(photo, tool="learned", quality=40, guide="student") != plain
    assert cotam.encode(photo, tool="learned", quality=40) == plain
    assert DEFAULT_GUIDE == "uniform"
    # A strength without a guide selects the student.
    assert cotam.encode(photo, tool="learned", quality=40, strength=0.8) == cotam.encode(
        photo, tool="learned", quality=40, guide="student", strength=0.8
    )


@pytest.mark.slow
def test_weights_may_have_a_guide_of_their_own(
    cotam: codec.Codec, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    stored = cotam.backend.checkpoint
    place, picture, coded = (
        tmp_path / "quick.safetensors",
        tmp_path / "photo.png",
        tmp_path / "photo.ctm",
    )
    save(Checkpoint(stored.arrays, stored.metadata | {"guide": "uniform"}), place)
    quick = codec.load(place)
    assert quick.encode(photo) == cotam.encode(photo, tool="learned", guide="uniform")
    assert quick.encode(photo, tool="learned", guide="student") == cotam.encode(
        photo, tool="learned", guide="student"
    )
    Image.fromarray(photo).save(picture)
    for asked, same_as in (
        ([], {"guide": "uniform"}),
        (["--guide", "student"], {"guide": "student"}),
    ):
        run_cotam("encode", picture, "-o", coded, "--model", place, *asked)
        assert coded.read_bytes() == cotam.encode(photo, **same_as)


@settings(deadline=None, max_examples=60)
@given(maps, st.sampled_from(["zscore", "paper", "value"]), st.floats(0, 1))
def test_levels_are_finite_bounded_and_follow_importance(
    values: NDArray[np.float32], rule: str, strength: float
) -> None:
    offsets = qp_map.levels(values, rule, strength, np.full(values.shape, 9.0))
    assert np.isfinite(offsets).all()
    assert np.abs(offsets).max() <= 15
    order = np.argsort(values.ravel(), kind="stable")
    assert (np.diff(offsets.ravel()[order]) >= -1e-9).all()


@settings(deadline=None, max_examples=40)
@given(hnp.arrays(np.float64, (12, 18), elements=st.floats(-9, 9)), st.integers(26, 38))
def test_a_neutral_map_costs_what_one_qp_costs(offsets: NDArray[np.float64], qp: int) -> None:
    weights = np.linspace(1, 5, 12 * 18).reshape(12, 18)

    def bits(field: NDArray[np.float64]) -> float:
        return float((weights * np.exp(0.06 * field)).sum())

    cells, unit = qp_map.compact(offsets, 1e5)
    target = bits(np.full((12, 18), float(qp)))
    found = qp_map.rate_neutral(cells, unit, qp, (12, 18), bits, target)
    assert found.shape == cells.shape
    assert 0 <= found.min() <= found.max() <= 63
    # All cells may jump by one unit at once, so half a unit's cost cannot be avoided.
    most = np.expm1(0.06 * unit / 2) + 0.01
    assert abs(bits(qp_map.expand(found, 12, 18)) / target - 1) < most


def test_a_small_file_gets_a_coarse_map() -> None:
    offsets = 4 * np.random.default_rng(0).normal(size=(32, 48))
    fine, coarse = (qp_map.compact(offsets, bits) for bits in (1e6, 3000))
    assert coarse[0].size < fine[0].size
    spent = len(qp_map.encode_offsets(coarse[1] * np.rint(coarse[0] / coarse[1]).astype(np.int64)))
    assert spent < 30
    np.testing.assert_allclose(qp_map.compact(offsets, 1e9)[0], offsets)


def test_the_paper_preset_has_three_levels_on_eight_cells(
    cotam: codec.Codec, photo: NDArray[np.uint8]
) -> None:
    coded = cotam.encode(photo, tool="learned", guide=choose("student", "paper"))
    assert codec.inspect(coded).map_grid == (8, 8)
    assert len(np.unique(qp_field_of(coded))) <= 3


@pytest.mark.parametrize("quality", [20, 50, 80])
def test_guidance_keeps_the_size(
    cotam: codec.Codec, photo: NDArray[np.uint8], quality: int
) -> None:
    plain = len(cotam.encode(photo, tool="learned", quality=quality, guide="uniform"))
    for guide in (choose("student"), choose("student", "paper")):
        coded = cotam.encode(photo, tool="learned", quality=quality, guide=guide)
        assert abs(len(coded) / plain - 1) < 0.05
        assert len(container.read(coded, 10**7).qp_map or b"") < 0.03 * len(coded)


def test_documents_are_left_uniform(cotam: codec.Codec, photo: NDArray[np.uint8]) -> None:
    """All text is important, but it is illegible in the small picture that the student gets."""
    sheet = Image.new("RGB", (600, 800), "white")
    pen = ImageDraw.Draw(sheet)
    for y in range(20, 780, 24):
        pen.text(
            (30, y),
            f"Line {y}: the quick brown fox jumps over 13 lazy dogs, {37 * y} times",
            fill="black",
        )
    page = np.asarray(sheet)
    student = choose("student")
    seen = student(page)
    assert seen is not None
    assert seen.trust == 0
    assert cotam.encode(page, tool="learned", quality=30) == cotam.encode(
        page, tool="learned", quality=30, guide="uniform"
    )
    for picture in (photo, data.astronaut()):
        found = student(picture)
        assert found is not None
        assert found.trust > 0.8


def test_trust_is_a_share_of_the_strength(cotam: codec.Codec, photo: NDArray[np.uint8]) -> None:
    values = np.linspace(0, 1, 40, dtype=np.float32).reshape(5, 8)
    half = cotam.encode(
        photo, tool="learned", guide=lambda pixels: Importance(values, "zscore", 0.5), strength=0.8
    )
    assert half == cotam.encode(
        photo, tool="learned", guide=lambda pixels: Importance(values), strength=0.4
    )


def test_a_map_of_any_shape_lands_where_it_points(
    cotam: codec.Codec, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    right = np.zeros((40, 33))
    right[:, 17:] = 1
    np.save(tmp_path / "map.npy", right)
    Image.fromarray((right * 255).astype(np.uint8)).save(tmp_path / "map.png")
    by_array = cotam.encode(photo, tool="learned", importance=right)
    assert (
        by_array
        == cotam.encode(photo, tool="learned", guide=str(tmp_path / "map.npy"))
        == cotam.encode(photo, tool="learned", guide=str(tmp_path / "map.png"))
    )
    field = qp_field_of(by_array)
    assert field[:, -8:].mean() > field[:, :8].mean() + 5
    box = qp_field_of(cotam.encode(photo, tool="learned", roi=[(240, 0, 451, 300)]))
    assert box[:, -8:].mean() > box[:, :8].mean() + 5
    region = np.s_[:, 260:]
    uniform = cotam.decode(cotam.encode(photo, tool="learned", guide="uniform"), output="array")
    guided = cotam.decode(by_array, output="array")
    errors = [np.square(p[region].astype(float) - photo[region]).mean() for p in (uniform, guided)]
    assert errors[1] < errors[0]


def test_arguments_that_exclude_each_other(
    cotam: codec.Codec, small: NDArray[np.uint8], tmp_path: Path
) -> None:
    one = np.eye(3)
    for options in (
        {"importance": one, "roi": [(0, 0, 9, 9)]},
        {"importance": one, "guide": "student"},
        {"importance": one, "qp_map": np.full((1, 1), 20)},
        {"roi": [(200, 0, 300, 9)]},
        {"roi": [(0, 0, 9)]},
        {"strength": 1.5},
        {"strength": float("nan")},
        {"guide": "nonsense"},
    ):
        with pytest.raises(BadArgument):
            cotam.encode(small, **options)  # type: ignore[arg-type]
    (tmp_path / "bad.npy").write_bytes(b"no array")
    with pytest.raises(BadArgument):
        choose(str(tmp_path / "bad.npy"))


def test_target_size_holds_with_guidance(cotam: codec.Codec, photo: NDArray[np.uint8]) -> None:
    assert (
        4500 < len(cotam.encode(photo, tool="learned", target_bytes=5000, guide="student")) <= 5000
    )


def test_the_student_is_small_and_sees_the_whole_picture() -> None:
    network, metadata = load_student()
    assert sum(p.numel() for p in network.parameters()) < 300_000
    assert metadata["training"]["steps"] > 0
    for height, width in ((1, 1), (33, 2000), (512, 768), (3000, 2000)):
        small = small_copy(np.zeros((height, width, 3), np.uint8))
        assert small.shape[0] % 16 == 0 == small.shape[1] % 16
        assert max(small.shape) <= 1024
        assert choose("student")(np.zeros((height, width, 3), np.uint8)) is not None


def test_the_rate_estimate_ranks_pictures_and_qps(
    cotam: codec.Codec, photo: NDArray[np.uint8]
) -> None:
    blocks = energies(photo)
    spent = cotam.encode_full(
        photo, tool="learned", quality=50, guide="uniform", want_bits=True
    ).bits
    assert spent is not None
    guess = shipped().bits(blocks, 32)
    assert np.corrcoef(np.log(guess.ravel() + 1), np.log(spent.ravel() + 1))[0, 1] > 0.8
    assert abs(float(guess.sum() / spent.sum()) - 1) < 0.3
    assert shipped().bits(blocks, 40).sum() > guess.sum()


def test_the_clip_guide_runs_real_towers(photo: NDArray[np.uint8]) -> None:
    tower = load_tower("timm:deit_tiny_patch16_224", "random", layers=3)
    guide = ClipGuide(tower)
    found = guide(photo)
    assert isinstance(found, Importance)
    assert found.values.shape == (14, 14)
    by_hand = tower.attention(
        tower.prepare(torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255), 3
    )
    expected = by_hand[0].mean(0)
    np.testing.assert_allclose(found.values, (expected / expected.mean()).numpy(), rtol=1e-4)
    large = np.asarray(Image.fromarray(photo).resize((900, 700)))
    tiled = guide(large)
    assert tiled is not None
    assert tiled.values.shape == (3 * 14, 4 * 14)
    whole = ClipGuide(tower, tiles=False)(large)
    assert whole is not None
    corner = ClipGuide(tower, tiles=False)(large[:233, :225])
    assert corner is not None
    stretched = torch.nn.functional.interpolate(
        torch.from_numpy(whole.values)[None, None], (42, 56), mode="bilinear"
    )[0, 0]
    np.testing.assert_allclose(
        tiled.values[:14, :14], stretched.numpy()[:14, :14] + corner.values, rtol=1e-3
    )


def test_a_guide_by_hand_works_with_any_weights(photo: NDArray[np.uint8]) -> None:
    toy = codec.load(Path(__file__).parent / "golden" / "toy.safetensors", device="cpu")

    def left(pixels: NDArray[np.uint8]) -> Importance:
        return Importance(np.array([[2, 1, 0]], np.float32))

    data = toy.encode(photo, tool="learned", quality=50, guide=left)
    assert qp_field_of(data)[0, 0] > qp_field_of(data)[0, -1]
    assert toy.decode(data, output="array").shape == photo.shape


def test_clip_without_weights_names_what_works_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(GuideUnavailable, match="student"):
        choose("clip", model="ViT-B-16", weights="openai")


@pytest.mark.slow
def test_decoding_needs_no_tower(
    cotam: codec.Codec, small: NDArray[np.uint8], tmp_path: Path
) -> None:
    (tmp_path / "x.ctm").write_bytes(cotam.encode(small, tool="learned"))
    program = (
        "import sys, codec\n"
        "codec.load(device='cpu').decode(open(sys.argv[1], 'rb').read())\n"
        "assert not {'timm', 'open_clip', 'codec.towers', 'codec.networks.student'} "
        "& set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "x.ctm")], check=True)


@pytest.mark.slow
def test_the_command_takes_guides(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    source = tmp_path / "cat.png"
    Image.fromarray(photo).save(source)
    Image.fromarray(photo[:, :, 0]).save(tmp_path / "map.png")
    for number, options in enumerate(
        (
            ["--guide", "uniform"],
            ["--guide", "student", "--guide-preset", "paper"],
            ["--guide", tmp_path / "map.png", "--strength", "1"],
        )
    ):
        target = tmp_path / f"{number}.ctm"
        done = run_cotam("encode", source, "-o", target, *options)
        assert done.returncode == 0, done.stderr
    assert (
        (tmp_path / "0.ctm").read_bytes()
        != (tmp_path / "1.ctm").read_bytes()
        != (tmp_path / "2.ctm").read_bytes()
    )
    for options in (
        ["--guide", "nonsense"],
        ["--strength", "2"],
        ["--guide-preset", "none"],
        ["--guide-model", "ViT-B-16"],
    ):
        done = run_cotam("encode", source, "-o", tmp_path / "no.ctm", *options)
        assert done.returncode == 2
        assert done.stderr.startswith(b"cotam: ")
        assert done.stderr.count(b"\n") == 1
        assert not (tmp_path / "no.ctm").exists()


@given(st.integers(1, 5), st.integers(1, 70), st.integers(1, 9))
def test_products_in_parts_equal_whole_products(h: int, w: int, n: int) -> None:
    random = np.random.default_rng(h * w * n)
    blocks = random.normal(size=(h, w, 64)).astype(np.float32)
    matrix = random.normal(size=(64, n)).astype(np.float32)
    np.testing.assert_allclose(_product(blocks, matrix), blocks @ matrix, rtol=1e-4, atol=1e-4)
