"""The expected error of a tower's tokens, and the choice between tools that uses it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from skimage import data

from codec.tools import av1
from codec.tools.choosing.expected import Candidate, better, cost, token_error

Pixels = NDArray[np.uint8]


def test_an_equal_picture_loses_nothing() -> None:
    assert token_error(data.astronaut(), data.astronaut()) == 0


def test_a_coarser_file_is_expected_to_lose_more() -> None:
    pixels = data.astronaut()[:256, :256]
    decoded = [av1.decode(av1.encode(pixels, index), 256, 256) for index in (60, 40, 20, 0)]
    errors = [token_error(pixels, one) for one in decoded]
    assert errors == sorted(errors)
    assert 0 < errors[0] < errors[-1] < 3


def test_the_same_error_costs_more_where_the_picture_is_calm() -> None:
    random = np.random.default_rng(0)
    calm = np.full((64, 64, 3), 128, np.uint8)
    busy = random.integers(40, 200, (64, 64, 3), dtype=np.uint8)
    noise = random.integers(0, 9, (64, 64, 3), dtype=np.uint8)
    assert token_error(calm, calm + noise) > 3 * token_error(busy, busy + noise)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.integers(0, 2**16))
def test_any_size_has_a_finite_error(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    one, other = random.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    error = token_error(one, other)
    assert np.isfinite(error)
    assert error >= 0


def test_the_exact_result_wins_unless_it_is_far_larger() -> None:
    pixels = data.astronaut()[:64, :64]
    soft = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)))
    lossy = Candidate("av1", bytes(1000), soft)
    assert better(pixels, [lossy, Candidate("palette", bytes(1200), pixels)]).tool == "palette"
    assert better(pixels, [lossy, Candidate("palette", bytes(1600), pixels)]).tool == "av1"


def test_the_first_of_equal_candidates_is_kept() -> None:
    pixels = data.astronaut()[:32, :32]
    pair = [Candidate("palette", bytes(9), pixels), Candidate("av1", bytes(9), pixels)]
    assert better(pixels, pair).tool == "palette"


def test_cost_grows_with_bytes_and_with_error() -> None:
    assert cost(1, 1) < cost(1.1, 1) < cost(1.1, 2)
    assert cost(1, 1) == pytest.approx(1.5)
