"""Photographs on a page are found, replaced by a fill, packed into one picture, and pasted back."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage import data

from codec.errors import BadArgument, Corrupt
from codec.tools.regions import Box, Region, fill, find, pack, paste, unpack

Pixels = NDArray[np.uint8]
WORDS = "Run all cells below 1234567890 and wait until the kernel is idle again "


def page(*photographs: tuple[str, int, int]) -> Pixels:
    """800x600: text, and photographs of 256x192 at (left, top)."""
    image = Image.new("RGB", (800, 600), "white")
    draw = ImageDraw.Draw(image)
    for line in range(24):
        draw.text((10, 10 + 24 * line), WORDS[line:] + WORDS, "#222222", ImageFont.load_default(14))
    for name, left, top in photographs:
        part = Image.fromarray(getattr(data, name)()).resize((256, 192))
        image.paste(part, (left, top))
    return np.asarray(image)


def covered(boxes: list[Box], left: int, top: int) -> float:
    """Share of the photograph at (left, top) that the boxes cover."""
    mask = np.zeros((600, 800), bool)
    for box in boxes:
        mask[box.top : box.bottom, box.left : box.right] = True
    return float(mask[top : top + 192, left : left + 256].mean())


def test_two_photographs_on_a_page_are_found() -> None:
    boxes = find(page(("astronaut", 64, 64), ("coffee", 480, 320)))
    assert len(boxes) == 2
    assert covered(boxes, 64, 64) > 0.7
    assert covered(boxes, 480, 320) > 0.7
    assert sum(box.area for box in boxes) < 1.2 * 2 * 256 * 192


def test_a_page_of_text_and_a_whole_photograph_have_no_regions() -> None:
    assert find(page()) == []
    assert find(data.astronaut()) == []
    assert find(np.zeros((5, 900, 3), np.uint8)) == []


def test_a_filled_region_has_the_colour_around_it() -> None:
    pixels = page(("chelsea", 320, 160))
    filled = fill(pixels, [Box(320, 160, 576, 352)])
    assert len(np.unique(filled[160:352, 320:576].reshape(-1, 3), axis=0)) == 1
    assert np.array_equal(filled[:160], pixels[:160])


def test_a_region_that_is_pasted_back_restores_the_picture() -> None:
    pixels = page(("chelsea", 320, 160))
    box = Box(320, 160, 576, 352)
    filled = fill(pixels, [box])
    paste(filled, box, box.of(pixels))
    assert np.array_equal(filled, pixels)
    with pytest.raises(Corrupt, match="192, 256"):
        paste(filled, box, pixels[:8, :8])


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**16))
def test_any_picture_has_boxes_on_the_grid_inside_it(rows: int, columns: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (4 * rows, 4 * columns, 3), dtype=np.uint8)
    pixels[random.random(pixels.shape[:2]).argsort(0) < 2 * rows] = 255
    boxes = find(pixels)
    regions = [Region(box, b"x") for box in boxes]
    assert unpack(pack(regions, *pixels.shape[:2]), *pixels.shape[:2]) == regions


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 400), st.integers(1, 400), st.data())
def test_a_packed_list_comes_back(height: int, width: int, draw: st.DataObject) -> None:
    left = 8 * draw.draw(st.integers(0, (width - 1) // 8))
    top = 8 * draw.draw(st.integers(0, (height - 1) // 8))
    right = min(width, left + 8 * draw.draw(st.integers(1, 50)))
    bottom = min(height, top + 8 * draw.draw(st.integers(1, 50)))
    payload = draw.draw(st.binary(min_size=1, max_size=300))
    regions = [Region(Box(left, top, right, bottom), payload)]
    assert unpack(pack(regions, height, width), height, width) == regions


@pytest.mark.parametrize(
    "boxes",
    [
        [Box(4, 0, 16, 16)],
        [Box(0, 0, 20, 16)],
        [Box(96, 0, 112, 16)],
        [Box(0, 0, 32, 32), Box(24, 24, 64, 64)],
        [Box(16, 0, 8, 16)],
        [Box(-8, 0, 8, 16)],
    ],
)
def test_boxes_off_the_grid_outside_or_over_each_other_are_refused(boxes: list[Box]) -> None:
    with pytest.raises(BadArgument, match="grid"):
        pack([Region(box, b"x") for box in boxes], 64, 100)


def test_too_many_regions_are_refused() -> None:
    row = [Region(Box(8 * k, 0, 8 * k + 8, 8), b"x") for k in range(17)]
    with pytest.raises(BadArgument):
        pack(row, 64, 640)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_end_in_valid_regions_or_corrupt(content: bytes) -> None:
    with contextlib.suppress(Corrupt):
        for region in unpack(content, 100, 90):
            assert 0 <= region.box.left < region.box.right <= 90
            assert 0 <= region.box.top < region.box.bottom <= 100


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_lists_end_in_valid_regions_or_corrupt(draw: st.DataObject) -> None:
    regions = [
        Region(Box(0, 0, 32, 32), b"abc"),
        Region(Box(40, 40, 90, 100), b"de"),
    ]
    content = bytearray(pack(regions, 100, 90))
    content[draw.draw(st.integers(0, len(content) - 1))] = draw.draw(st.integers(0, 255))
    content = content[: draw.draw(st.integers(0, len(content)))]
    with contextlib.suppress(Corrupt):
        found = unpack(bytes(content), 100, 90)
        assert all(region.box.right <= 90 and region.box.bottom <= 100 for region in found)
