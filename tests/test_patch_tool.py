"""Patches: exact pixels in tens of bytes, and safe decoding of hostile data."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codec.errors import BadArgument, Corrupt
from codec.tools import patch


def random_patch(
    seed: int, height: int, width: int, colours: int, grey: bool = False
) -> NDArray[np.uint8]:
    random = np.random.default_rng(seed)
    table = random.integers(0, 256, (colours, 1 if grey else 3), np.uint8)
    # Horizontal runs of one colour, as in drawings.
    indexes = random.integers(0, colours, (height, width))
    keep = random.random((height, width)) < 0.7
    for y in range(height):
        for x in range(1, width):
            if keep[y, x]:
                indexes[y, x] = indexes[y, x - 1]
    return np.ascontiguousarray(np.broadcast_to(table[indexes], (height, width, 3)))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 64),
    st.booleans(),
)
def test_the_same_pixels_come_back(
    seed: int, height: int, width: int, colours: int, grey: bool
) -> None:
    pixels = random_patch(seed, height, width, colours, grey)
    payload = patch.encode(pixels)
    assert payload is not None
    assert np.array_equal(patch.decode(payload, height, width), pixels)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80), st.integers(1, 30), st.integers(1, 30))
def test_any_bytes_are_a_picture_or_corrupt(data: bytes, height: int, width: int) -> None:
    with suppress(Corrupt):
        assert patch.decode(data, height, width).shape == (height, width, 3)


def test_a_caret_takes_a_few_bytes() -> None:
    caret = np.zeros((17, 1, 3), np.uint8)
    assert len(patch.encode(caret) or b"") == 2


def test_an_arrow_takes_tens_of_bytes() -> None:
    arrow = np.full((19, 12, 3), 255, np.uint8)
    for y in range(19):
        arrow[y, : min(y, 12, 19 - y)] = 0
    assert len(patch.encode(arrow) or b"") < 40


def test_large_and_colourful_pictures_are_left_to_other_tools() -> None:
    assert patch.encode(np.zeros((65, 64, 3), np.uint8)) is None
    colours = np.arange(65, dtype=np.uint8)[:, None, None].repeat(3, 2)
    assert patch.encode(colours) is None


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 4), (4, 4, 4)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadArgument):
        patch.encode(np.zeros(shape, np.uint8))


def test_a_patch_too_large_to_read_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        patch.decode(b"\x80\x00", 65, 64)


@pytest.mark.parametrize("cut", [0, 1, 3])
def test_missing_colours_are_corrupt(cut: int) -> None:
    payload = patch.encode(random_patch(1, 5, 5, 4))
    assert payload is not None
    with pytest.raises(Corrupt):
        patch.decode(payload[:cut], 5, 5)
