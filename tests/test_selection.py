"""Token selection from the bits that a file spent per position."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import codec
from benchmarks.selection.ways import WAYS, Seen, multiply_adds
from codec.errors import BadArgument
from codec.tokens import select_tokens
from codec.tokens.selection import density, predicted, quadtree


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.floats(0.001, 1), st.integers(0, 2**32 - 1))
def test_any_grid_and_budget_gives_a_partition(
    rows: int, columns: int, budget: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    information = np.exp(random.normal(0, 3, (rows, columns))).astype(np.float32)
    count = max(1, round(budget * rows * columns))
    found = quadtree(information, count)
    assert len(np.unique(found.indexes)) == count
    assert (np.diff(found.indexes) > 0).all()
    assert set(found.owner) == set(range(count))
    np.testing.assert_array_equal(found.owner[found.indexes], np.arange(count))
    np.testing.assert_allclose(np.bincount(found.owner, found.weights), 1, rtol=1e-4)
    tokens = random.normal(size=(2, rows * columns, 3)).astype(np.float32)
    merged = found.merged(tokens)
    assert merged.shape == (2, count, 3)
    torch.testing.assert_close(found.merged(torch.from_numpy(tokens)), torch.from_numpy(merged))
    if count == rows * columns:
        np.testing.assert_allclose(merged, tokens, rtol=1e-5)


def test_tokens_go_where_the_information_is() -> None:
    information = np.ones((24, 24), np.float32)
    information[3:9, 12:20] = 30
    found = quadtree(information, 144)
    rows, columns = np.divmod(found.indexes, 24)
    inside = (rows >= 3) & (rows < 9) & (columns >= 12) & (columns < 20)
    assert inside.sum() >= 46
    assert (~inside).sum() > 60  # the other tokens are spread over the rest
    assert len({(r // 6, c // 6) for r, c in zip(rows, columns)}) == 16


def test_a_files_bits_choose_the_tokens(cotam: codec.Codec, photo: NDArray[np.uint8]) -> None:
    half = photo.copy()
    half[:, 225:] = 128
    spent = cotam.decode_full(cotam.encode(half, tool="learned", quality=60), want_bits=True)
    for grid in ((24, 24), (14, 14), (16, 31)):
        found = select_tokens(spent, 0.25, grid)
        assert found.grid == grid
        assert len(found.indexes) == round(0.25 * grid[0] * grid[1])
        left = found.indexes % grid[1] < grid[1] // 2
        assert left.mean() > 0.7
    assert density(spent, (24, 24)).mean() == pytest.approx(1, rel=1e-4)


def test_the_grid_covers_the_picture_and_not_its_padding() -> None:
    """A picture 17 pixels wide has two latent columns, the second for its last pixel only."""
    bits = np.array([[1.0, 1000.0]], np.float32)
    found = density(SimpleNamespace(bits=bits, qp=30, size=(16, 17)), (1, 17))
    assert (found[0, :16] < found[0, 16]).all()
    assert len(quadtree(np.ones((2, 2), np.float32), 9).indexes) == 4


def test_arguments_are_checked(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    data = cotam.encode(small, tool="learned", quality=30)
    with pytest.raises(BadArgument, match="want_bits"):
        select_tokens(cotam.decode_full(data))
    spent = cotam.decode_full(data, want_bits=True)
    for budget, grid in ((0.0, (4, 4)), (1.5, (4, 4)), (0.5, (0, 4))):
        with pytest.raises(BadArgument):
            select_tokens(spent, budget, grid)


def test_what_neighbours_predict_is_worth_less(
    cotam: codec.Codec, photo: NDArray[np.uint8]
) -> None:
    random = np.random.default_rng(0)
    latents = random.normal(size=(12, 16, 20)).astype(np.float32)
    latents[:, :8] = np.linspace(-4, 4, 12, dtype=np.float32)[:, None, None]
    share = predicted(latents)
    assert 0 <= share.min() <= share.max() <= 1
    assert share[2:-2, 1:6].min() > 0.9
    assert share[:, 9:].mean() < 0.1
    spent = SimpleNamespace(
        bits=np.ones((12, 16), np.float32), qp=30, size=(192, 256), y_hat=latents
    )
    plain, less = (density(spent, (12, 16), redundancy) for redundancy in (0.0, 1.0))
    np.testing.assert_allclose(plain, 1, rtol=1e-5)
    assert less[:, :7].mean() < 0.2 * less[:, 9:].mean()
    decoded = cotam.decode_full(cotam.encode(photo, tool="learned", quality=40), want_bits=True)
    assert select_tokens(decoded, redundancy=0).indexes.size == 144
    assert (
        select_tokens(decoded).indexes.tolist()
        != select_tokens(decoded, redundancy=1).indexes.tolist()
    )
    with pytest.raises(BadArgument, match="redundancy"):
        select_tokens(decoded, redundancy=1.5)


def test_every_way_keeps_as_many_tokens_as_it_is_told() -> None:
    random = np.random.default_rng(1)
    maps = [random.gamma(1, 1, (14, 14)).astype(np.float32) for _ in range(4)]
    seen = Seen(*maps, torch.randn(1, 196, 24), seed=3)
    for way in WAYS.values():
        for count in (1, 12, 49, 196):
            kept = way(seen, count)
            assert kept.shape == (1, count, 24)
            assert torch.isfinite(kept).all()
    at = maps[3].argmax()
    torch.testing.assert_close(WAYS["attention received"](seen, 1)[0, 0], seen.patches[0, at])
    weights = torch.from_numpy(maps[2].ravel() / maps[2].sum())
    torch.testing.assert_close(
        WAYS["class attention, merged"](seen, 1)[0, 0], weights @ seen.patches[0]
    )


def test_multiply_adds_are_those_of_the_tower() -> None:
    """DeiT-Tiny's blocks: 5.3 M weights times 197 tokens, plus the products of attention."""
    assert multiply_adds(192, 12, 197, 197, 0) == pytest.approx(1.22e9, rel=0.01)
    assert multiply_adds(192, 12, 197, 50, 12) == multiply_adds(192, 12, 197, 197, 0)
    assert multiply_adds(192, 12, 197, 50, 2) < 0.4 * multiply_adds(192, 12, 197, 197, 0)


def test_it_takes_next_to_no_time() -> None:
    """It takes less than 2 ms for 576 tokens; the limit here also allows for a busy machine."""
    random = np.random.default_rng(0)
    spent = SimpleNamespace(
        bits=random.gamma(1, 30, (32, 48)).astype(np.float32),
        qp=random.integers(20, 40, (32, 48)),
        size=(512, 768),
    )
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        select_tokens(spent, 0.25)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.01
    print(f"{min(seconds) * 1000:.2f} ms")
