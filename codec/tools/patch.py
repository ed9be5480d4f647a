"""Tiny pictures of few colours, such as a caret, a cursor or a typed letter, in tens of bytes.

::

    pixels [H, W, 3] -> colours, the most frequent first -> index of each pixel
      -> questions with yes and no, answered by its neighbours -> adaptive binary range coder

A payload is::

    number of colours - 1, bit 7: all are grey | colours (1 or 3 bytes each) | coded indexes

docs/format.md lists the questions and the coder. Files of WebP or AV1 spend more bytes than such a
picture needs on tables alone. The coder is a loop over pixels, so pictures are small.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from codec.errors import BadArgument, Corrupt

Pixels = NDArray[np.uint8]
MOST_PIXELS = 4096
MOST_COLOURS = 64
GREY = 0x80
# The coder: an interval of 32 bits, one byte at a time.
TOP = 1 << 32
BOTTOM = 1 << 24
# Counts of a question's answers: the first weighs as much as half an answer, as Krichevsky and
# Trofimov (1981) recommend for few data.
FIRST = 1
STEP = 2
MOST_COUNT = 254
# Questions about a pixel, as contexts of the coder.
PREDICTED = 0
SECOND = 1
BELOW = 2


class _Counts:
    """How often each question was answered no and yes."""

    def __init__(self) -> None:
        self.by_context: defaultdict[tuple[int, int], list[int]] = defaultdict(
            lambda: [FIRST, FIRST]
        )

    @staticmethod
    def add(counts: list[int], answer: int) -> None:
        counts[answer] += STEP
        if counts[0] + counts[1] > MOST_COUNT:
            counts[0] = (counts[0] + 1) >> 1
            counts[1] = (counts[1] + 1) >> 1


class _Writer(_Counts):
    """The coder's writing half; `low` is a whole number as long as the output."""

    def __init__(self) -> None:
        super().__init__()
        self.low = 0
        self.range = TOP
        self.bytes = 4

    def ask(self, context: tuple[int, int], answer: int) -> int:
        """Code an answer, 0 or 1."""
        counts = self.by_context[context]
        bound = self.range * counts[0] // (counts[0] + counts[1])
        if answer:
            self.low += bound
            self.range -= bound
        else:
            self.range = bound
        while self.range < BOTTOM:
            self.low <<= 8
            self.range <<= 8
            self.bytes += 1
        self.add(counts, answer)
        return answer

    def finish(self) -> bytes:
        """The shortest bytes in the interval; the reader pads them with zeros."""
        value = self.low
        for dropped in range(8 * self.bytes, -1, -8):
            value = -(-self.low >> dropped) << dropped
            if value < self.low + self.range and value < 1 << 8 * self.bytes:
                break
        return value.to_bytes(self.bytes, "big").rstrip(b"\0")


class _Reader(_Counts):
    """The coder's reading half."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data
        self.at = 4
        self.code = int.from_bytes(data[:4].ljust(4, b"\0"), "big")
        self.range = TOP

    def ask(self, context: tuple[int, int], answer: int) -> int:
        """Read the next answer; the argument is not used."""
        counts = self.by_context[context]
        bound = self.range * counts[0] // (counts[0] + counts[1])
        answer = int(self.code >= bound)
        if answer:
            self.code -= bound
            self.range -= bound
        else:
            self.range = bound
        while self.range < BOTTOM:
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.code = self.code << 8 | byte
            self.range <<= 8
            self.at += 1
        self.add(counts, answer)
        return answer


def encode(pixels: Pixels) -> bytes | None:
    """A picture uint8 [H, W, 3] without any loss.

    Returns:
        The payload; None for a picture of more than 4096 pixels or 64 colours.

    Raises:
        BadArgument: the pixels are of another shape.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise BadArgument(f"pixels must be uint8 [H, W, 3], not {list(pixels.shape)}")
    height, width = pixels.shape[:2]
    if height * width > MOST_PIXELS:
        return None
    colours, places, counts = np.unique(
        pixels.reshape(-1, 3), axis=0, return_inverse=True, return_counts=True
    )
    if len(colours) > MOST_COLOURS:
        return None
    order = np.argsort(-counts, kind="stable")
    ranks = np.argsort(order)
    indexes = ranks[places.ravel()].reshape(height, width).tolist()
    colours = colours[order]
    grey = bool((colours == colours[:, :1]).all())
    head = bytes([len(colours) - 1 | GREY * grey])
    head += (colours[:, 0] if grey else colours).astype(np.uint8).tobytes()
    if len(colours) == 1:
        return head
    coder = _Writer()
    _walk(coder, indexes, len(colours))
    return head + coder.finish()


def decode(payload: bytes, height: int, width: int) -> Pixels:
    """The picture uint8 [H, W, 3] of a payload.

    Raises:
        Corrupt: the payload is not of such a picture.
    """
    if not payload or not 1 <= height * width <= MOST_PIXELS:
        raise Corrupt("a patch of the picture is malformed; fetch or copy the file again")
    count = (payload[0] & ~GREY) + 1
    samples = 1 if payload[0] & GREY else 3
    data = payload[1 + samples * count :]
    colours = np.frombuffer(payload[1 : 1 + samples * count], np.uint8)
    if count > MOST_COLOURS or len(colours) != samples * count:
        raise Corrupt("a patch of the picture ends too early; fetch or copy the file again")
    table = np.broadcast_to(colours.reshape(count, samples), (count, 3))
    indexes = [[0] * width for _ in range(height)]
    if count > 1:
        coder = _Reader(data)
        _walk(coder, indexes, count)
        if coder.at < len(data):
            raise Corrupt("bytes follow a patch of the picture; fetch or copy the file again")
    elif data:
        raise Corrupt("bytes follow a patch of the picture; fetch or copy the file again")
    found = np.array(indexes)
    if found.max() >= count:
        raise Corrupt("a patch of the picture names a colour that it lacks")
    return np.ascontiguousarray(table[found])


def _walk(coder: _Writer | _Reader, indexes: list[list[int]], count: int) -> None:
    """Code or read all indexes, row by row."""
    height = len(indexes)
    width = len(indexes[0])
    bits = (count - 1).bit_length()
    outside = [0] * (width + 3)
    above = outside
    for y in range(height):
        # Two columns before and one after, so that every pixel has neighbours.
        line = [0, 0, *indexes[y], 0]
        for x in range(2, width + 2):
            line[x] = _pixel(coder, line, above, x, bits)
        indexes[y] = line[2:-1]
        above = line


def _pixel(coder: _Writer | _Reader, line: list[int], above: list[int], x: int, bits: int) -> int:
    """Code or read a pixel's index with at most three questions, and return it."""
    value = line[x]
    left = line[x - 1]
    up = above[x]
    corner = above[x - 1]
    # The left neighbour is the first guess where the row above repeats its own left neighbour.
    first, second = (left, up) if up == corner else (up, left)
    state = (left == up) | (up == corner) << 1 | (left == corner) << 2
    state |= (up == above[x + 1]) << 3 | (left == line[x - 2]) << 4
    if coder.ask((PREDICTED, state), int(value == first)):
        return first
    if second == first:
        second = above[x + 1]
    if second != first and coder.ask((SECOND, state), int(value == second)):
        return second
    node = 1
    for shift in range(bits - 1, -1, -1):
        node = node << 1 | coder.ask((BELOW, node), value >> shift & 1)
    return node - (1 << bits)
