"""The payload of messages: written messages are read back, and others raise Corrupt."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.bitstream.container import put_varint
from codec.errors import BadArgument, Corrupt
from codec.tools import changes
from codec.tools.changes import AV1, LEARNED, PATCH, Changes, Copy, Rectangle, Tones
from codec.tools.regions import Box

HEIGHT, WIDTH = 300, 400
REFERENCE = b"\x01\x02\x03\x04"
OLDER = b"\x09\x02\x03\x04"


@st.composite
def messages(draw: Callable[..., int]) -> Changes:
    copies = []
    for _ in range(draw(st.integers(0, 8))):
        left, top = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
        width, height = draw(st.integers(1, WIDTH - left)), draw(st.integers(1, HEIGHT - top))
        dx, dy = draw(st.integers(-left, WIDTH - left - width)), draw(st.integers(-top, 0))
        levels = st.integers(-changes.MOST_TONE, changes.MOST_TONE)
        same = draw(levels), draw(levels)
        pairs = draw(
            st.sampled_from([3 * [(256, 0)], 3 * [same], [same, (256, 0), (draw(levels), 0)]])
        )
        gains, offsets = zip(*pairs)
        box = Box(left, top, left + width, top + height)
        copies.append(Copy(box, dx, dy, Tones(gains, offsets)))
    rectangles = []
    for row in range(draw(st.integers(0, 9))):
        # Each rectangle has its own strip, so that they do not overlap.
        left, width = draw(st.integers(0, WIDTH - 1)), 1
        top, height = 30 * row + draw(st.integers(0, 9)), draw(st.integers(1, 20))
        tool, payload = draw(st.sampled_from([0, 1, 2, 4])), bytes(draw(st.integers(0, 300)))
        rectangles.append(Rectangle(Box(left, top, left + width, top + height), int(tool), payload))
    number, forgets = draw(st.integers(1, 2**30)), bool(draw(st.booleans()))
    reference = draw(st.sampled_from([REFERENCE, OLDER]))
    return Changes(number, REFERENCE, reference, copies, rectangles, forgets)


@settings(max_examples=80, deadline=None)
@given(messages())
def test_what_is_written_is_read(message: Changes) -> None:
    assert changes.read(changes.write(message, HEIGHT, WIDTH), HEIGHT, WIDTH) == message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_a_message_or_corrupt(data: bytes) -> None:
    with suppress(Corrupt):
        changes.read(data, HEIGHT, WIDTH)


def test_an_unchanged_picture_takes_few_bytes() -> None:
    assert len(changes.write(Changes(1, REFERENCE, REFERENCE, forgets=True), HEIGHT, WIDTH)) == 7


def box(left: int, top: int, right: int, bottom: int) -> Box:
    return Box(left, top, right, bottom)


BAD = {
    "outside": Changes(1, REFERENCE, REFERENCE, (), [Rectangle(box(390, 0, 401, 9), AV1, b"")]),
    "empty": Changes(1, REFERENCE, REFERENCE, (), [Rectangle(box(9, 9, 9, 20), AV1, b"")]),
    "overlap": Changes(
        1,
        REFERENCE,
        REFERENCE,
        (),
        [Rectangle(box(0, 0, 9, 9), AV1, b""), Rectangle(box(8, 8, 12, 12), AV1, b"")],
    ),
    "copy from outside": Changes(1, REFERENCE, REFERENCE, [Copy(box(0, 0, 9, 9), -1, 0)]),
    "large patch": Changes(
        1, REFERENCE, REFERENCE, (), [Rectangle(box(0, 0, 100, 50), PATCH, b"")]
    ),
    "no weights": Changes(
        1, REFERENCE, REFERENCE, (), [Rectangle(box(0, 0, 9, 9), LEARNED, b"abcd")]
    ),
    "two weights": Changes(
        1,
        REFERENCE,
        REFERENCE,
        (),
        [
            Rectangle(box(0, 0, 9, 9), LEARNED, b"abcd."),
            Rectangle(box(20, 0, 29, 9), LEARNED, b"abce."),
        ],
    ),
    "unknown tool": Changes(1, REFERENCE, REFERENCE, (), [Rectangle(box(0, 0, 9, 9), 5, b"")]),
    "too many pixels": Changes(
        1, REFERENCE, REFERENCE, 9 * [Copy(box(0, 0, WIDTH, HEIGHT), 0, 0)], ()
    ),
    "wild tones": Changes(
        1,
        REFERENCE,
        REFERENCE,
        [Copy(box(0, 0, 9, 9), 0, 0, Tones((256, 1024, 0), (0, 0, 0)))],
    ),
    "number 0": Changes(0, REFERENCE, REFERENCE),
}


@pytest.mark.parametrize("name", BAD)
def test_what_no_reader_takes_is_not_written(name: str) -> None:
    with pytest.raises(BadArgument):
        changes.write(BAD[name], HEIGHT, WIDTH)


def test_too_many_parts_are_corrupt() -> None:
    many = put_varint(4) + REFERENCE + put_varint(changes.MOST_COPIES + 1)
    with pytest.raises(Corrupt):
        changes.read(many, HEIGHT, WIDTH)
    many = put_varint(4) + REFERENCE + b"\0" + put_varint(changes.MOST_RECTANGLES + 1)
    with pytest.raises(Corrupt):
        changes.read(many, HEIGHT, WIDTH)


@pytest.mark.parametrize("flags", [9, 16, 255])
def test_unknown_tones_are_corrupt(flags: int) -> None:
    known = put_varint(4) + REFERENCE + bytes([65, 0, 0, 9, 9, 0, 0])
    assert changes.read(known + bytes([8, 3, 1, 0]), HEIGHT, WIDTH).copies[0].tones == Tones(
        (254, 254, 254), (-1, -1, -1)
    )
    with pytest.raises(Corrupt):
        changes.read(known + bytes([flags, 3, 1, 0]), HEIGHT, WIDTH)


def test_patches_of_a_message_are_limited_together() -> None:
    boxes = [box(64 * x, 64 * y, 64 * x + 64, 64 * y + 64) for x in range(6) for y in range(4)]
    full = [Rectangle(one, PATCH, b"\x80\x00") for one in boxes]
    most = changes.MOST_PATCHED // 4096
    assert changes.write(Changes(1, REFERENCE, REFERENCE, (), full[:most]), HEIGHT, WIDTH)
    with pytest.raises(BadArgument):
        changes.write(Changes(1, REFERENCE, REFERENCE, (), full[: most + 1]), HEIGHT, WIDTH)


def test_the_fingerprint_of_learned_rectangles_is_found() -> None:
    learned = Rectangle(box(0, 0, 9, 9), LEARNED, b"abcd.")
    assert Changes(1, REFERENCE, REFERENCE, (), [learned]).fingerprint == b"abcd"
    assert Changes(1, REFERENCE, REFERENCE).fingerprint == b""
    assert np.isclose(Changes(1, REFERENCE, REFERENCE, (), [learned]).area, 81)
