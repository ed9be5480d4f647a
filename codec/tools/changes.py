"""A message of a stream: the picture that it builds on, what moved in it, and what is new.

::

    number, forgets | checksums | copies: box, from where, tones | rectangles: box, tool, payload

    picture of that checksum -> copies, all of them from it -> rectangles over them -> picture

A copy may change its pixels' tones: a highlighted row, a page behind a dialog and a fading film
show the pixels from before, but darker, lighter or in another hue.

A message refers to the previous one, so that a lost or reordered message is noticed, and to the
picture that it builds on if that is an older one. It does so by the checksum of the picture's file.
It covers the checksums in that file, and so every file back to the key frame. A checksum of the
pixels is not possible: the learned tool's pixels differ in some last bits between machines.

docs/format.md lists the bytes. Boxes of rectangles do not overlap, so that decoding takes no longer
than for a picture of that size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import CRC_BYTES, FINGERPRINT_BYTES, Reader, put_varint
from codec.errors import BadArgument, Corrupt, Truncated
from codec.tools import patch
from codec.tools.names import CHANGES, NUMBERS
from codec.tools.regions import Box

Pixels = NDArray[np.uint8]
NAME = CHANGES
NUMBER = NUMBERS[CHANGES]
MOST_COPIES = 32
# Limit on the pixels that all copies of a message write, in multiples of the picture's.
MOST_COPIED = 8
# The integer for a gain of 1, and the largest magnitude of a gain and an offset.
ONE = 256
MOST_TONE = 1023
# Flag of the number of copies: tones follow each.
TONED = 64
# Flag of a copy's tones: red, green and blue have the same ones.
SAME_TONES = 8
MOST_RECTANGLES = 256
# Limit on the pixels of all patches of a message, because their coder is a loop over pixels.
MOST_PATCHED = 1 << 16
# The tools that code rectangles, by their number in a message.
PATCH = 0
AV1 = 1
PALETTE = 2
LEARNED = 3
AGAIN = 4
TOOL_NAMES = ("patch", "av1", "palette", "learned", "again")
Samples = tuple[int, int, int]


@dataclass(frozen=True)
class Tones:
    """Maps samples to (gain * sample + 256 * offset + 128) / 256, rounded down, in 0..255.

    Attributes:
        gains: of red, green and blue, in 1 / 256; -1023..1023.
        offsets: in levels; -1023..1023.
    """

    gains: Samples = (ONE, ONE, ONE)
    offsets: Samples = (0, 0, 0)

    @property
    def plain(self) -> bool:
        """Whether all samples stay as they are."""
        return self == Tones()

    @property
    def tables(self) -> NDArray[np.uint8]:
        """The new sample [3, 256] of each channel and each sample."""
        gains = np.array(self.gains)[:, None]
        offsets = np.array(self.offsets)[:, None]
        levels = gains * np.arange(256) + ONE * offsets + ONE // 2
        return np.clip(levels >> 8, 0, 255).astype(np.uint8)


PLAIN = Tones()


@dataclass(frozen=True)
class Copy:
    """A box whose pixels come from (x + dx, y + dy) of the picture that the message builds on."""

    box: Box
    dx: int
    dy: int
    tones: Tones = PLAIN

    @property
    def source(self) -> Box:
        """Where the pixels come from."""
        box = self.box
        return Box(box.left + self.dx, box.top + self.dy, box.right + self.dx, box.bottom + self.dy)


@dataclass(frozen=True)
class Rectangle:
    """A box with new pixels: the number of the tool that coded them, and its payload."""

    box: Box
    tool: int
    payload: bytes


@dataclass(frozen=True)
class Changes:
    """A message.

    Attributes:
        number: messages since the key frame, from 1.
        forgets: whether the picture that it builds on is not needed any more.
        follows: checksum, 4 bytes, of the file before in the stream.
        reference: checksum, 4 bytes, of the file whose picture the message builds on.
        copies: in the order in which they are made; all of them read the picture before.
        rectangles: without overlap.
    """

    number: int
    follows: bytes
    reference: bytes
    copies: Sequence[Copy] = ()
    rectangles: Sequence[Rectangle] = ()
    forgets: bool = False

    @property
    def fingerprint(self) -> bytes:
        """4 bytes of the weights that its rectangles need; empty where they need none."""
        for one in self.rectangles:
            if one.tool == LEARNED:
                return one.payload[:FINGERPRINT_BYTES]
        return b""

    @property
    def area(self) -> int:
        """Pixels in its rectangles."""
        return sum(one.box.area for one in self.rectangles)


def write(changes: Changes, height: int, width: int) -> bytes:
    """A message as a payload.

    Raises:
        BadArgument: a box lies outside the picture of that size, rectangles overlap, or there are
            too many.
    """
    older = changes.reference != changes.follows
    head = changes.number << 2 | older << 1 | changes.forgets
    out = [put_varint(head), changes.follows, changes.reference * older]
    toned = any(not copy.tones.plain for copy in changes.copies)
    out.append(put_varint(len(changes.copies) | TONED * toned))
    for copy in changes.copies:
        out += [_put_box(copy.box), _put_signed(copy.dx), _put_signed(copy.dy)]
        out += [_put_tones(copy.tones)] * toned
    out.append(put_varint(len(changes.rectangles)))
    for one in changes.rectangles:
        out += [_put_box(one.box), bytes([one.tool]), put_varint(len(one.payload)), one.payload]
    data = b"".join(out)
    try:
        read(data, height, width)
    except Corrupt as error:
        raise BadArgument(f"this is no message of a {width}x{height} picture: {error}") from None
    return data


def read(payload: bytes, height: int, width: int) -> Changes:
    """Parse the payload of a message for a picture of that size.

    Raises:
        Corrupt: it is malformed.
    """
    reader = Reader(payload)
    size = (height, width)
    try:
        head = reader.varint()
        follows = bytes(reader.take(CRC_BYTES))
        reference = bytes(reader.take(CRC_BYTES)) if head & 2 else follows
        count = reader.varint()
        toned = bool(count & TONED)
        copies = [_copy(reader, size, toned) for _ in range(_limited(count & ~TONED, MOST_COPIES))]
        rectangles = [
            _rectangle(reader, size) for _ in range(_limited(reader.varint(), MOST_RECTANGLES))
        ]
    except Truncated:
        raise Corrupt("the message ends too early; fetch or copy the file again") from None
    if reader.at != len(payload) or head < 4 or (head & 2 and reference == follows):
        raise Corrupt("the message is malformed; fetch or copy the file again")
    changes = Changes(head >> 2, follows, reference, copies, rectangles, bool(head & 1))
    _check(changes, height, width)
    return changes


def _check(changes: Changes, height: int, width: int) -> None:
    """Raises Corrupt where rectangles overlap, need different weights, or cost too much."""
    if changes.area > height * width or _overlap([one.box for one in changes.rectangles]):
        raise Corrupt("two rectangles of the message overlap; fetch or copy the file again")
    if sum(one.box.area for one in changes.copies) > MOST_COPIED * height * width:
        raise Corrupt("the message copies too many pixels")
    patched = [one.box.area for one in changes.rectangles if one.tool == PATCH]
    if sum(patched) > MOST_PATCHED or max(patched, default=0) > patch.MOST_PIXELS:
        raise Corrupt("the message has too many pixels in patches")
    learned = [one.payload for one in changes.rectangles if one.tool == LEARNED]
    if len({payload[:FINGERPRINT_BYTES] for payload in learned}) > 1 or any(
        len(payload) <= FINGERPRINT_BYTES for payload in learned
    ):
        raise Corrupt("the message needs the weights of two models, or names none")


def _overlap(boxes: Sequence[Box]) -> bool:
    if len(boxes) < 2:
        return False
    sides = np.array([(box.left, box.top, box.right, box.bottom) for box in boxes])
    starts = sides[:, None, :2]
    ends = sides[None, :, 2:]
    meet = (starts < ends).all(2)
    return int((meet & meet.T).sum()) > len(boxes)


def _limited(count: int, most: int) -> int:
    if count > most:
        raise Corrupt(f"the message has {count} parts of a kind, more than {most}")
    return count


def _copy(reader: Reader, size: tuple[int, int], toned: bool) -> Copy:
    box, dx, dy = _box(reader, size), _signed(reader), _signed(reader)
    copy = Copy(box, dx, dy, _tones(reader) if toned else PLAIN)
    if not _inside(copy.source, size):
        raise Corrupt("the message copies from outside the picture")
    return copy


def _rectangle(reader: Reader, size: tuple[int, int]) -> Rectangle:
    box = _box(reader, size)
    tool = reader.byte()
    payload = bytes(reader.take(reader.varint()))
    if tool >= len(TOOL_NAMES):
        raise Corrupt(f"a rectangle of the message is coded by the unknown tool {tool}")
    return Rectangle(box, tool, payload)


def _box(reader: Reader, size: tuple[int, int]) -> Box:
    left, top, width, height = (reader.varint() for _ in range(4))
    box = Box(left, top, left + width, top + height)
    if not (width and height and _inside(box, size)):
        raise Corrupt("a part of the message lies outside the picture")
    return box


def _inside(box: Box, size: tuple[int, int]) -> bool:
    return box.left >= 0 and box.top >= 0 and box.right <= size[1] and box.bottom <= size[0]


def _put_box(box: Box) -> bytes:
    sides = (box.left, box.top, box.right - box.left, box.bottom - box.top)
    return b"".join(put_varint(side) for side in sides)


def _put_tones(tones: Tones) -> bytes:
    """Which channels have tones of their own (bits 0 to 2), then the gain and offset of each."""
    pairs = list(zip(tones.gains, tones.offsets))
    if pairs == 3 * pairs[:1] and not tones.plain:
        return bytes([SAME_TONES]) + _put_pair(pairs[0])
    own = [pair != (ONE, 0) for pair in pairs]
    flags = sum(1 << channel for channel in range(3) if own[channel])
    return bytes([flags]) + b"".join(_put_pair(pair) for pair, has in zip(pairs, own) if has)


def _put_pair(pair: tuple[int, int]) -> bytes:
    return _put_signed(pair[0] - ONE) + _put_signed(pair[1])


def _tones(reader: Reader) -> Tones:
    flags = reader.byte()
    if flags > SAME_TONES:
        raise Corrupt("a copy of the message has unknown tones")
    if flags == SAME_TONES:
        pairs = 3 * [_pair(reader)]
    else:
        pairs = [_pair(reader) if flags >> channel & 1 else (ONE, 0) for channel in range(3)]
    red, green, blue = pairs
    return Tones((red[0], green[0], blue[0]), (red[1], green[1], blue[1]))


def _pair(reader: Reader) -> tuple[int, int]:
    pair = ONE + _signed(reader), _signed(reader)
    if max(map(abs, pair)) > MOST_TONE:
        raise Corrupt("a copy of the message has tones beyond what samples can be")
    return pair


def _put_signed(value: int) -> bytes:
    """Small numbers of either sign take few bytes: 0, -1, 1, -2, ... become 0, 1, 2, 3, ..."""
    return put_varint(2 * value if value >= 0 else -2 * value - 1)


def _signed(reader: Reader) -> int:
    value = reader.varint()
    return -(value + 1) // 2 if value & 1 else value // 2
