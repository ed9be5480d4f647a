"""Lossless WebP data without headers, which decodes exactly."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from codec.errors import BadArgument, Corrupt, TooLarge
from codec.tools.payloads import vp8l

Pixels = NDArray[np.uint8]
SIDES = st.integers(1, 50)
CHANNELS = st.sampled_from([3, 4])


def picture(height: int, width: int, channels: int, colours: int, seed: int) -> Pixels:
    """Random pixels with a number of colours."""
    random = np.random.default_rng(seed)
    table = random.integers(0, 256, (colours, channels), dtype=np.uint8)
    return table[random.integers(0, colours, (height, width))]


@settings(max_examples=120, deadline=None)
@given(
    SIDES,
    SIDES,
    CHANNELS,
    st.sampled_from([1, 2, 5, 40, 4000]),
    st.integers(0, 9),
    st.integers(0, 2**16),
)
def test_every_pixel_comes_back(
    height: int, width: int, channels: int, colours: int, effort: int, seed: int
) -> None:
    pixels = picture(height, width, channels, colours, seed)
    assert np.array_equal(
        vp8l.decode(vp8l.encode(pixels, effort=effort), height, width, channels), pixels
    )


def test_colours_below_full_transparency_are_kept_and_opaque_pictures_stay_so() -> None:
    pixels = np.concatenate([data.astronaut(), np.zeros((512, 512, 1), np.uint8)], 2)
    assert np.array_equal(vp8l.decode(vp8l.encode(pixels), 512, 512, 4), pixels)
    pixels[..., 3] = 255
    assert np.array_equal(vp8l.decode(vp8l.encode(pixels), 512, 512, 4), pixels)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_payload_is_25_bytes_smaller_than_the_file(channels: int) -> None:
    pixels = picture(60, 61, channels, 20, 1)
    stream = io.BytesIO()
    speed = vp8l.SPEEDS[4]
    Image.fromarray(pixels).save(
        stream, "WEBP", lossless=True, exact=True, method=speed.method, quality=speed.quality
    )
    assert (
        len(stream.getvalue()) - 26
        <= len(vp8l.encode(pixels, effort=4))
        <= len(stream.getvalue()) - 25
    )


def test_more_effort_is_not_larger_on_a_drawing() -> None:
    pixels = np.full((200, 300, 3), 250, np.uint8)
    pixels[40:160, 60:240] = (30, 90, 200)
    pixels[::10] = 120
    sizes = [len(vp8l.encode(pixels, effort=effort)) for effort in (0, 4, 9)]
    assert sizes == sorted(sizes, reverse=True)


@pytest.mark.parametrize("payload", [b"", b"\x00", b"\xff" * 12, bytes(3)])
def test_bytes_that_are_no_payload_are_corrupt(payload: bytes) -> None:
    with pytest.raises(Corrupt):
        vp8l.decode(payload, 40, 40)


def test_a_payload_that_is_cut_short_is_corrupt() -> None:
    payload = vp8l.encode(data.astronaut()[:50, :50])
    with pytest.raises(Corrupt):
        vp8l.decode(payload[: len(payload) // 2], 50, 50)


@settings(max_examples=150, deadline=None)
@given(st.data(), CHANNELS)
def test_mutated_payloads_end_in_a_picture_of_the_known_size_or_corrupt(
    draw: st.DataObject, channels: int
) -> None:
    payload = bytearray(vp8l.encode(picture(20, 30, channels, 9, 3)))
    for _ in range(draw.draw(st.integers(1, 4))):
        payload[draw.draw(st.integers(0, len(payload) - 1))] = draw.draw(st.integers(0, 255))
    payload = payload[: draw.draw(st.integers(0, len(payload)))]
    with contextlib.suppress(Corrupt):
        assert vp8l.decode(bytes(payload), 20, 30, channels).shape == (20, 30, channels)


@pytest.mark.parametrize(
    ("height", "width", "channels"), [(0, 5, 3), (5, 16384, 3), (5, 5, 1), (-1, 5, 4)]
)
def test_a_size_that_webp_cannot_have_is_corrupt(height: int, width: int, channels: int) -> None:
    with pytest.raises(Corrupt):
        vp8l.decode(bytes(20), height, width, channels)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 4), (4, 4, 2)])
def test_other_arrays_than_pictures_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadArgument, match="uint8"):
        vp8l.encode(np.zeros(shape, np.uint8))


def test_effort_and_sides_out_of_range_are_named() -> None:
    with pytest.raises(BadArgument, match="10"):
        vp8l.encode(np.zeros((4, 4, 3), np.uint8), effort=10)
    with pytest.raises(TooLarge, match="16384"):
        vp8l.encode(np.zeros((1, 16384, 3), np.uint8))
