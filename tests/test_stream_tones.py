"""Copies with changed tones, and rectangles that are shown again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from skimage import data as pictures

import codec
from codec.errors import Corrupt
from codec.stream import blocks, tones
from codec.stream.pasting import moved, samples_of
from codec.stream.shown import LEAST_PAYLOAD, MOST, MOST_PIXELS, Shown, name_of
from codec.tools.changes import AGAIN, LEARNED, PALETTE, Copy, Rectangle, Tones
from codec.tools.regions import Box
from tests.test_stream import screen

Pixels = NDArray[np.uint8]


def found(before: Pixels, after: Pixels, most: float = 16.0) -> list[Copy]:
    """The copies that are found in the whole of two pictures."""
    box = Box(0, 0, before.shape[1], before.shape[0])
    return tones.find(tones.Views(before, before, after), [box], [], most)


def test_a_row_that_is_pointed_at() -> None:
    before = screen(240, 60)[35:60, 82:]
    after = before.copy()
    white = (before == 255).all(2)
    after[white] = (231, 240, 250)
    (copy,) = found(before, after)
    assert np.abs(moved(before, [copy]).astype(int) - after)[white].max() <= 1


def test_a_page_behind_a_dialog() -> None:
    before = screen()
    after = (before * 0.533).round().astype(np.uint8)
    dialog = after[100:180, 150:350]
    dialog[:] = 255
    (copy,) = found(before, after)
    error = np.abs(moved(before, [copy]).astype(int) - after).max(2)
    error[100:180, 150:350] = 0
    assert error.max() <= 2


def test_a_film_that_moves_and_fades() -> None:
    photo = np.asarray(Image.fromarray(pictures.astronaut()).resize((300, 300)))
    before = photo[50:170, 60:220]
    after = (photo[57:177, 65:225] * 0.93).round().astype(np.uint8)
    (copy,) = found(before, after)
    assert (copy.dx, copy.dy) == (5, 7)
    inner = moved(before, [copy])[:112, :154].astype(int) - after[:112, :154]
    assert np.abs(inner).max() <= 2


def test_nothing_is_found_where_all_is_new() -> None:
    random = np.random.default_rng(0)
    before, after = random.integers(0, 256, (2, 90, 90, 3), np.uint8)
    assert found(before, after) == []
    assert found(before, before) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-1023, 1023), min_size=6, max_size=6))
def test_tones_are_the_same_for_pixels_and_for_packed_ones(numbers: list[int]) -> None:
    values = Tones((numbers[0], numbers[1], numbers[2]), (numbers[3], numbers[4], numbers[5]))
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), np.uint8)
    copy = Copy(Box(3, 4, 20, 15), 2, 1, values)
    new = moved(pixels, [copy])
    assert np.array_equal(samples_of(moved(blocks.packed(pixels), [copy]))[..., :3], new)
    for channel in range(3):
        sample = int(pixels[5, 5, channel])
        gain, offset = values.gains[channel], values.offsets[channel]
        expected = min(max((gain * sample + 256 * offset + 128) // 256, 0), 255)
        assert new[4, 3, channel] == expected


def test_a_menu_that_opens_again_after_many_messages_is_not_sent_again() -> None:
    encoder, decoder = codec.StreamEncoder(), codec.StreamDecoder()
    first = 0
    for step in range(14):
        # The page behind the menu changes every time, so that no kept picture can be reused.
        page = screen(menu=step in (1, 13), typed=f"step {step}")
        page = page.copy()
        page[280:320, 100:400] = 17 * step
        data = encoder.encode(page)
        frame = decoder.decode(data)
        first = len(data) if step == 1 else first
    assert len(data) < first / 2
    assert np.abs(frame.pixels.astype(int) - page).mean() < 3


def test_the_same_letters_are_sent_once_a_message() -> None:
    encoder, decoder = codec.StreamEncoder(lossless=True), codec.StreamDecoder()
    page = np.full((200, 1300, 3), 255, np.uint8)
    decoder.decode(encoder.encode(page))
    glyph = np.random.default_rng(0).integers(0, 2, (16, 16, 1), np.uint8) * np.uint8(200)
    page = page.copy()
    page[40:56, 40:56] = glyph
    one = encoder.encode(page)
    decoder.decode(one)
    encoder.key()
    page[40:56, 40:56] = 255
    decoder.decode(encoder.encode(page))
    for left in range(40, 1241, 300):
        page[40:56, left : left + 16] = glyph
    five = encoder.encode(page)
    assert np.array_equal(decoder.decode(five).pixels, page)
    assert len(five) < len(one) + 4 * 12


def test_what_is_pushed_out_within_a_message_is_sent_anew() -> None:
    """New letters at the top remove the oldest one from the list; it is shown at the bottom."""
    glyphs = np.random.default_rng(3).integers(0, 2, (80, 16, 16, 1), np.uint8) * np.uint8(200)
    encoder, decoder = codec.StreamEncoder(lossless=True), codec.StreamDecoder()

    def sent(letters: dict[tuple[int, int], int]) -> None:
        page = np.full((160, 2400, 3), 255, np.uint8)
        for (top, left), number in letters.items():
            page[top : top + 16, left : left + 16] = glyphs[number]
        assert np.array_equal(decoder.decode(encoder.encode(page)).pixels, page)

    sent({})
    sent({(136, 2200): 0})
    for number in range(1, MOST - 3):
        sent({(40, 40): number})
    assert len(decoder.shown.pixels) == MOST - 3
    sent({(40, 40 + 290 * number): 70 + number for number in range(8)} | {(136, 2200): 0})


def test_what_is_shown_again_is_bounded() -> None:
    shown = Shown()
    part = np.zeros((4, 4, 3), np.uint8)
    box = Box(0, 0, 4, 4)
    for tool, size in ((PALETTE, LEAST_PAYLOAD - 1), (LEARNED, 99), (AGAIN, 99)):
        shown.add(Rectangle(box, tool, bytes(size)), part)
    assert shown.pixels == []
    for number in range(MOST + 9):
        shown.add(Rectangle(box, PALETTE, bytes(99)), part, bytes([number]))
    assert len(shown.pixels) == MOST
    assert shown.find(bytes([8])) is None
    assert shown.find(bytes([MOST + 8])) == (b"\0", part)
    large = np.zeros((MOST_PIXELS // 1024, 1024, 3), np.uint8)
    shown.add(Rectangle(Box(0, 0, 1024, MOST_PIXELS // 1024), PALETTE, bytes(99)), large)
    assert len(shown.pixels) == 1


@pytest.mark.parametrize("payload", [b"", b"\1", b"\0\0", b"\xff\xff\xff\xff\x0f"])
def test_what_was_not_shown_is_corrupt(payload: bytes) -> None:
    shown = Shown()
    shown.add(Rectangle(Box(0, 0, 4, 4), PALETTE, bytes(99)), np.zeros((4, 4, 3), np.uint8))
    assert shown.at(b"\0", (4, 4)).shape == (4, 4, 3)
    with pytest.raises(Corrupt):
        shown.at(payload, (4, 4))
    with pytest.raises(Corrupt):
        shown.at(b"\0", (4, 5))


def test_names_tell_sizes_apart() -> None:
    flat = np.zeros((4, 6, 3), np.uint8)
    assert name_of(flat) != name_of(flat.reshape(6, 4, 3))
    assert name_of(flat) == name_of(flat.copy())
