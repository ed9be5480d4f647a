"""Rectangles that were sent before, so that a menu that opens again is not sent again.

Both ends keep the same ones: the last 64 since the whole picture, with at most 2^22 pixels
together, whose payload has at least 16 bytes. The learned tool's are not kept, because their pixels
differ in some last bits between machines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import Reader, put_varint
from codec.errors import Corrupt, Truncated
from codec.tools.changes import AGAIN, LEARNED, Rectangle

Pixels = NDArray[np.uint8]
MOST = 64
MOST_PIXELS = 1 << 22
# Bytes: what is shorter costs little to send again.
LEAST_PAYLOAD = 16


@dataclass
class Shown:
    """The pixels [h, w, 3] of rectangles, the newest first, and names of what they were coded from.

    The receiver does not have the sources, so its names are empty.
    """

    pixels: list[Pixels] = field(default_factory=list)
    sources: list[bytes] = field(default_factory=list)

    def copy(self) -> Shown:
        """The same rectangles in lists of their own."""
        return Shown(list(self.pixels), list(self.sources))

    def add(self, rectangle: Rectangle, part: Pixels, source: bytes = b"") -> None:
        """Keep a rectangle as the newest one, and forget the oldest."""
        if rectangle.tool in (LEARNED, AGAIN) or len(rectangle.payload) < LEAST_PAYLOAD:
            return
        self.pixels.insert(0, part)
        self.sources.insert(0, source)
        areas = np.cumsum([part.shape[0] * part.shape[1] for part in self.pixels])
        kept = min(MOST, int((areas <= MOST_PIXELS).sum()))
        del self.pixels[kept:], self.sources[kept:]

    def find(self, source: bytes) -> tuple[bytes, Pixels] | None:
        """The payload that shows a source again, and its pixels; None if it is not here."""
        if source not in self.sources:
            return None
        place = self.sources.index(source)
        return put_varint(place), self.pixels[place]

    def at(self, payload: bytes, size: tuple[int, int]) -> Pixels:
        """The pixels [h, w, 3] that a payload names.

        Raises:
            Corrupt: there are none, or they are of another size.
        """
        reader = Reader(payload)
        try:
            place = reader.varint()
        except Truncated:
            place = MOST
        if place >= len(self.pixels) or reader.at != len(payload):
            raise Corrupt("the message shows a rectangle again that was not sent before")
        if self.pixels[place].shape[:2] != size:
            raise Corrupt("the message shows a rectangle again in another size")
        return self.pixels[place]


def name_of(pixels: Pixels) -> bytes:
    """A name for pixels [h, w, 3] and their size."""
    digest = blake2b(np.ascontiguousarray(pixels).tobytes(), digest_size=16)
    digest.update(str(pixels.shape).encode())
    return digest.digest()
