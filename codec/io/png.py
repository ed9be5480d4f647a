"""PNG written a band of rows at a time, so that only a band is in memory. Pillow does the rest."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import IO

import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by channels: grey, grey and alpha, RGB, RGBA
PAETH = 4  # number of the filter
LEVEL = 3  # of zlib


def write(
    stream: IO[bytes],
    shape: tuple[int, int, int],
    bands: Iterable[NDArray[np.uint8]],
    icc: bytes | None = None,
    exif: bytes | None = None,
) -> None:
    """Write a PNG file.

    Args:
        stream: where to write.
        shape: height, width, channels (1..4).
        bands: uint8 [rows, width, channels] in order; [rows, width] for one channel.
        icc: a colour profile.
        exif: EXIF bytes.
    """
    height, width, channels = shape
    stream.write(SIGNATURE)
    _chunk(
        stream, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, COLOUR_TYPES[channels], 0, 0, 0)
    )
    if icc:
        _chunk(stream, b"iCCP", b"ICC Profile\0\0" + zlib.compress(icc))
    if exif:
        _chunk(stream, b"eXIf", exif.removeprefix(b"Exif\0\0"))
    coder = zlib.compressobj(LEVEL, strategy=zlib.Z_FILTERED)
    above = np.zeros((1, width, channels), np.int16)
    for band in bands:
        rows = band.reshape(len(band), width, channels).astype(np.int16)
        _chunk(stream, b"IDAT", coder.compress(_filtered(rows, above)))
        above = rows[-1:]
    _chunk(stream, b"IDAT", coder.flush())
    _chunk(stream, b"IEND", b"")


def _filtered(rows: NDArray[np.int16], above: NDArray[np.int16]) -> bytes:
    """Filter rows by Paeth's predictor (PNG specification, 9.4); above: the row before them."""
    up = np.concatenate([above, rows[:-1]])
    left, corner = (np.pad(v[:, :-1], ((0, 0), (1, 0), (0, 0))) for v in (rows, up))
    guess = left + up - corner
    off_left, off_up, off_corner = (np.abs(guess - v) for v in (left, up, corner))
    best = np.where(
        (off_left <= off_up) & (off_left <= off_corner),
        left,
        np.where(off_up <= off_corner, up, corner),
    )
    lines = np.empty((len(rows), 1 + rows[0].size), np.uint8)
    lines[:, 0] = PAETH
    lines[:, 1:] = (rows - best).reshape(len(rows), -1)  # modulo 256
    return lines.tobytes()


def _chunk(stream: IO[bytes], kind: bytes, data: bytes) -> None:
    if data or kind != b"IDAT":
        stream.write(
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )
