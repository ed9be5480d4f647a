"""The building blocks of a stream: blocks, rectangles, shifts, kept pictures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codec.stream import blocks, shifts
from codec.stream.pasting import moved
from codec.stream.pictures import Pictures, kept
from codec.stream.rectangles import rectangles, tight
from codec.stream.rule import threshold
from codec.tools.regions import Box

Pixels = NDArray[np.uint8]


def noise(seed: int, height: int, width: int) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 70))
def test_blocks_that_differ_are_found(seed: int, height: int, width: int) -> None:
    random = np.random.default_rng(seed)
    one = noise(seed, height, width)
    other = one.copy()
    y, x, c = (int(random.integers(0, side)) for side in one.shape)
    other[y, x, c] ^= 1
    a, b = blocks.packed(one), blocks.packed(other)
    found = blocks.of_pixels(a != b)
    assert np.argwhere(found).tolist() == [[y // 8, x // 8]]
    assert np.argwhere(blocks.hashes(a) != blocks.hashes(b)).tolist() == [[y // 8, x // 8]]
    assert blocks.errors(one, other, found)[0] > 0


def test_errors_are_of_the_worst_channel_and_count_the_tolerance() -> None:
    one = np.zeros((8, 16, 3), np.uint8)
    other = one.copy()
    other[:, :8, 1] = 4
    every = np.ones((1, 2), np.bool_)
    assert blocks.errors(one, other, every).tolist() == [16.0, 0.0]
    assert blocks.errors(one, other, every, 1).tolist() == [25.0, 1.0]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 60), st.floats(0, 1))
def test_errors_are_those_of_each_block(seed: int, height: int, width: int, share: float) -> None:
    """Few blocks and many blocks are computed in different ways, with the same results."""
    one, other = noise(seed, height, width), noise(seed + 1, height, width)
    which = np.random.default_rng(seed).random(blocks.grid_of(one)) < share
    found = blocks.errors(one, other, which, 1)
    differences = np.abs(one.astype(int) - other) + 1
    rows, columns = which.shape
    full = ((0, 8 * rows - height), (0, 8 * columns - width), (0, 0))
    squares = np.pad(differences, full, mode="edge") ** 2
    means = squares.reshape(rows, 8, columns, 8, 3).mean((1, 3)).max(2)
    assert np.allclose(found, means[which], rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 0.9), st.integers(1, 40), st.integers(1, 40))
def test_rectangles_hold_every_block_and_do_not_overlap(
    seed: int, share: float, rows: int, columns: int
) -> None:
    random = np.random.default_rng(seed)
    marks = random.random((rows, columns)) < share
    lively = random.random((rows, columns)) < 0.5
    boxes = rectangles(marks, lively)
    held = np.zeros(marks.shape, int)
    for box in boxes:
        held[box.top : box.bottom, box.left : box.right] += 1
        assert marks[box.top : box.bottom, box.left : box.right].any()
    assert held.max(initial=0) <= 1
    assert (held >= marks).all()
    assert len(boxes) <= 64


def test_an_angle_is_cut_in_two() -> None:
    marks = np.zeros((60, 60), np.bool_)
    marks[50:] = True
    marks[:, 58:] = True
    assert sum(box.area for box in rectangles(marks)) == marks.sum()


def test_flat_blocks_do_not_pay_for_another_rectangle() -> None:
    marks = np.zeros((3, 20), np.bool_)
    marks[:, ::6] = True
    assert len(rectangles(marks, marks)) == 1


def test_long_light_boxes_are_cut_into_patches() -> None:
    marks = np.zeros((2, 170), np.bool_)
    marks[:, ::40] = True
    boxes = rectangles(marks, marks)
    assert len(boxes) == 5
    assert sum(box.area for box in boxes) == marks.sum()


def test_a_frame_is_cut_around_its_hole() -> None:
    marks = np.ones((27, 48), np.bool_)
    marks[2:24, 1:46] = False
    boxes = rectangles(marks)
    assert len(boxes) == 4
    assert sum(box.area for box in boxes) == marks.sum()


def test_tight_boxes() -> None:
    marks = np.zeros((20, 20), np.bool_)
    marks[3:5, 7:12] = True
    assert tight(marks, Box(0, 0, 20, 20)) == Box(7, 3, 12, 5)
    assert tight(marks, Box(12, 0, 20, 20)) is None


def page(lines: int, width: int, seed: int = 0) -> Pixels:
    """A text-like pattern on white, in which no two lines are equal."""
    random = np.random.default_rng(seed)
    pixels = np.full((lines * 16, width, 3), 255, np.uint8)
    ink = random.random((lines * 16, width)) < 0.3
    ink.reshape(lines, 16, width)[:, 11:] = False
    pixels[ink] = 20
    return pixels


@pytest.mark.parametrize("shift", [(0, 37), (0, -20), (13, 0), (-40, 0)])
def test_a_scrolled_page_beside_a_menu_is_found(shift: tuple[int, int]) -> None:
    dx, dy = shift
    text = page(60, 900)
    before = np.full((400, 600, 3), 230, np.uint8)
    after = before.copy()
    before[53:, 111:] = text[100:447, 100:589]
    after[53:, 111:] = text[100 + dy : 447 + dy, 100 + dx : 589 + dx]
    a, b = blocks.packed(before), blocks.packed(after)
    copies = shifts.find(a, b, blocks.of_pixels(a != b), blocks.lively(b))
    assert (copies[0].dx, copies[0].dy) == shift
    wrong = (moved(before, copies) != after).any(2)
    # Only the strip that has become visible is not covered by copies.
    assert wrong.sum() <= 347 * abs(dx) + 489 * abs(dy)


def test_a_moved_window_is_found() -> None:
    before = np.full((400, 600, 3), 90, np.uint8)
    after = before.copy()
    window = page(10, 200, 3)
    before[50:210, 60:260] = window
    after[117:277, 201:401] = window
    a, b = blocks.packed(before), blocks.packed(after)
    copies = shifts.find(a, b, blocks.of_pixels(a != b), blocks.lively(b))
    assert (copies[0].dx, copies[0].dy) == (60 - 201, 50 - 117)
    wrong = (moved(before, copies) != after).any(2)
    assert not wrong[117:277, 201:401].any()


def test_a_page_with_a_row_that_was_pointed_at_is_found() -> None:
    """The copy makes most pixels of the row wrong, but not those above and below it."""
    text = page(60, 900)
    before, after = text[:400].copy(), text[120:520].copy()
    row = before[180:210]
    row[row[..., 0] == 255] = (230, 240, 250)
    a, b = blocks.packed(before), blocks.packed(after)
    copies = shifts.find(a, b, blocks.of_pixels(a != b), blocks.lively(b))
    assert {(copy.dx, copy.dy) for copy in copies} == {(0, 120)}
    wrong = (moved(before, copies) != after).any(2)
    assert not wrong[:56].any()
    assert not wrong[92:270].any()


def test_nothing_moved_where_all_is_new() -> None:
    a, b = blocks.packed(noise(1, 200, 200)), blocks.packed(noise(2, 200, 200))
    assert shifts.find(a, b, blocks.of_pixels(a != b), blocks.lively(b)) == []


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(8, 90), st.integers(8, 90))
def test_copies_lie_in_the_picture(seed: int, height: int, width: int) -> None:
    random = np.random.default_rng(seed)
    text = page(30, 300, seed % 7)
    y, x = random.integers(0, 200, 2)
    j, i = random.integers(0, 200, 2)
    a = blocks.packed(np.ascontiguousarray(text[y : y + height, x : x + width]))
    b = blocks.packed(np.ascontiguousarray(text[j : j + height, i : i + width]))
    for copy in shifts.find(a, b, blocks.of_pixels(a != b), blocks.lively(b)):
        for box in (copy.box, copy.source):
            assert 0 <= box.left < box.right <= width
            assert 0 <= box.top < box.bottom <= height


def test_kept_pictures_are_bounded() -> None:
    assert kept(819, 1456) == 8
    assert kept(4000, 4000) == 2
    assert kept(1 << 14, 1 << 14) == 1
    pictures: Pictures[int] = Pictures()
    for number in range(20):
        pictures.add(bytes([number]), (819, 1456), number)
    assert [picture for _, picture in pictures.newest_first()] == list(range(19, 11, -1))
    pictures.forget(bytes([19]))
    assert pictures.get(bytes([19])) is None
    pictures.add(b"x", (10, 10), 7)
    assert pictures.newest_first() == [(b"x", 7)]


def test_the_threshold_follows_the_quality() -> None:
    values = [threshold(quality) for quality in range(0, 101, 5)]
    assert values == sorted(values, reverse=True)
    assert threshold(100) < 0
