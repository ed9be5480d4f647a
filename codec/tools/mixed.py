"""A drawn picture with photographs in it: a screen tool for the page, the learned tool for those.

::

    pixels --boxes filled with one colour--> screen tool --------+--> payload
           --each box--> learned tool --> tools.regions.pack ----+

A payload is::

    base tool (1 byte) | fingerprint (4) | length (varint) | base payload | regions

The fingerprint names the weights that the regions need. Base tool and regions may not be mixed
themselves, so that a payload cannot nest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from codec.bitstream.container import FINGERPRINT_BYTES, Reader, put_varint
from codec.errors import Corrupt, Truncated
from codec.tools.interface import Pixels
from codec.tools.names import MIXED, NUMBERS
from codec.tools.regions import Region, pack, paste, unpack

NAME = MIXED
NUMBER = NUMBERS[MIXED]


class PhotographTool(Protocol):
    """How a photograph within a picture is coded.

    Attributes:
        fingerprint: 4 bytes of the weights.
    """

    @property
    def fingerprint(self) -> bytes: ...

    def encode(self, pixels: Pixels, quality: float) -> bytes:
        """A photograph uint8 [h, w, 3] at a quality of 0..100 as a payload."""

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> Pixels:
        """Decode what `encode` returned. Raises Corrupt."""


class BaseTool(Protocol):
    """What `decode` needs of a screen tool."""

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> Pixels: ...


@dataclass(frozen=True)
class Parts:
    """The parts of a payload.

    Attributes:
        base: number of the screen tool.
        fingerprint: of the weights that the regions need.
        payload: that of the screen tool.
        regions: the photographs.
    """

    base: int
    fingerprint: bytes
    payload: bytes
    regions: Sequence[Region]


def write(parts: Parts, height: int, width: int) -> bytes:
    """The payload of a picture of that size. Raises BadArgument."""
    head = bytes([parts.base]) + parts.fingerprint + put_varint(len(parts.payload))
    return head + parts.payload + pack(parts.regions, height, width)


def read(payload: bytes, height: int, width: int) -> Parts:
    """Parse a payload.

    Raises:
        Corrupt: it is malformed.
    """
    reader = Reader(payload)
    try:
        base = reader.byte()
        fingerprint = bytes(reader.take(FINGERPRINT_BYTES))
        inner = bytes(reader.take(reader.varint()))
    except Truncated:
        raise Corrupt("the mixed payload ends too early; fetch or copy the file again") from None
    if base == NUMBER:
        raise Corrupt("a mixed payload holds another one; fetch or copy the file again")
    return Parts(base, fingerprint, inner, unpack(payload[reader.at :], height, width))


def decode(
    parts: Parts, shape: tuple[int, int, int], base: BaseTool, photographs: PhotographTool
) -> Pixels:
    """The picture uint8 [H, W, C] of a payload.

    Args:
        parts: the payload.
        shape: H, W, C.
        base: the screen tool of that number.
        photographs: the tool of the regions.

    Raises:
        Corrupt: a part is damaged.
    """
    pixels = base.decode(parts.payload, shape).copy()
    for region in parts.regions:
        box = region.box
        size = (box.bottom - box.top, box.right - box.left, 3)
        paste(pixels[..., :3], box, photographs.decode(region.payload, size))
    return pixels
