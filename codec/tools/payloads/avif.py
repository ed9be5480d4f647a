"""The boxes of an AVIF file with one picture, and the units of an AV1 stream.

::

    ftyp | meta: hdlr, pitm, iloc, iinf, iprp (ispe, pixi, av1C, colr; ipma) | mdat: AV1 units

Boxes: ISO/IEC 14496-12 and 23008-12; units (OBU): AV1 Bitstream Specification, 5.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from codec.errors import Corrupt

# Primaries, transfer and matrix (H.273): BT.709, sRGB, BT.601.
COLOURS = (1, 13, 6)
HAS_SIZE = 2
BOX_HEADER = 8
LEB128_BYTES = 8


@dataclass(frozen=True)
class Obu:
    """A unit of an AV1 stream: its type, and its bytes without header and size."""

    kind: int
    body: bytes


def obu(kind: int, body: bytes) -> bytes:
    """A unit with header and size."""
    return bytes([kind << 3 | HAS_SIZE]) + _leb128(len(body)) + body


def obus(data: bytes) -> Iterator[Obu]:
    """The units of a stream, each with a size and without an extension. Raises Corrupt."""
    at = 0
    while at < len(data):
        header = data[at]
        size, at = _read_leb128(data, at + 1)
        if header & 0x86 != HAS_SIZE or at + size > len(data):
            raise Corrupt("an AV1 stream is malformed")
        yield Obu(header >> 3, data[at : at + size])
        at += size


def media_data(file: bytes) -> bytes:
    """The content of the `mdat` box. Raises Corrupt."""
    at = 0
    while at + BOX_HEADER <= len(file):
        size = int.from_bytes(file[at : at + 4], "big")
        if file[at + 4 : at + BOX_HEADER] == b"mdat":
            return file[at + BOX_HEADER : at + size if size else len(file)]
        at += max(size, BOX_HEADER)
    raise Corrupt("an AVIF file holds no picture")


def avif_file(stream: bytes, configuration: bytes, size: tuple[int, int], planes: int) -> bytes:
    """An AVIF file around an AV1 stream.

    Args:
        stream: the units, the sequence header first.
        configuration: the four bytes of `av1C`.
        size: (H, W).
        planes: 1 or 3, each of 8 bits.

    Returns:
        The file's bytes.
    """
    ftyp = _box(b"ftyp", b"avif" + bytes(4) + b"avifmif1miaf")
    # The offset of the stream depends on the length of `meta`, which is the same for every offset.
    place = len(ftyp) + len(_meta(0, len(stream), configuration, size, planes)) + BOX_HEADER
    return ftyp + _meta(place, len(stream), configuration, size, planes) + _box(b"mdat", stream)


def _meta(
    place: int, length: int, configuration: bytes, size: tuple[int, int], planes: int
) -> bytes:
    height, width = size
    properties = [
        _full_box(b"ispe", struct.pack(">II", width, height)),
        _full_box(b"pixi", bytes([planes]) + bytes([8]) * planes),
        _box(b"av1C", configuration),
        _box(b"colr", struct.pack(">4sHHHB", b"nclx", *COLOURS, 0x80)),
    ]
    # One item, all properties; av1C is essential (0x80).
    associations = struct.pack(">IHB4B", 1, 1, 4, 1, 2, 0x83, 4)
    container = _box(b"ipco", b"".join(properties)) + _full_box(b"ipma", associations)
    entry = _full_box(b"infe", struct.pack(">HH4sB", 1, 0, b"av01", 0), version=2)
    parts = [
        _full_box(b"hdlr", bytes(4) + b"pict" + bytes(13)),
        _full_box(b"pitm", struct.pack(">H", 1)),
        _full_box(b"iloc", struct.pack(">BBHHHHII", 0x44, 0, 1, 1, 0, 1, place, length)),
        _full_box(b"iinf", struct.pack(">H", 1) + entry),
        _box(b"iprp", container),
    ]
    return _full_box(b"meta", b"".join(parts))


def _box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", BOX_HEADER + len(content)) + kind + content


def _full_box(kind: bytes, content: bytes, version: int = 0) -> bytes:
    return _box(kind, bytes([version, 0, 0, 0]) + content)


def _leb128(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])


def _read_leb128(data: bytes, at: int) -> tuple[int, int]:
    """(the number, where it ends). Raises Corrupt."""
    value = 0
    for index, byte in enumerate(data[at : at + LEB128_BYTES]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise Corrupt("an AV1 stream is malformed")
