"""Exact pixels through WebP's lossless format (VP8L) by Pillow, without a WebP file's headers.

::

    pixels [H, W, C] -> WebP file -> headers, signature and size are left out -> payload
    payload, H, W, C -> the same headers are written again -> WebP file -> pixels [H, W, C]

A WebP file begins `RIFF size WEBP VP8L size` (20 bytes), the chunk with one byte of signature and 4
bytes of width, height, whether alpha is used, and version (WebP Lossless Bitstream Specification,
3). All of these follow from H, W and C, so they are not stored and cannot contradict them, and
libwebp reserves no more memory than the size needs. A payload is the rest of the chunk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import BadArgument, Corrupt, TooLarge
from codec.tools.payloads.pillow import check_pixels, opened, saved

Pixels = NDArray[np.uint8]
SIGNATURE = 0x2F
SIDE_BITS = 14
MAX_SIDE = 16383
RIFF_BYTES = 12
CHUNK_BYTES = 8
HEADER_BYTES = 5
LARGEST_EFFORT = 9


@dataclass(frozen=True)
class Speed:
    """method: 0..6, libwebp's search; quality: 0..100, how long it searches."""

    method: int
    quality: int


# Mean over 8 pictures of train/screens, one thread, bytes relative to effort 4:
# 0 is 1.97 in 0.02 s, 1 is 1.58 in 0.04 s, 2 is 1.22 in 0.05 s, 3 is 1.03 in 0.09 s,
# 4 takes 0.12 s, 5 is 0.994 in 0.14 s, 6 and 7 are 0.987 in 0.21 s, 8 and 9 are 0.924 in 1.7 s.
SPEEDS = (
    Speed(0, 50),
    Speed(0, 100),
    Speed(1, 0),
    Speed(1, 50),
    Speed(3, 75),
    Speed(4, 90),
    Speed(4, 100),
    Speed(4, 100),
    Speed(6, 100),
    Speed(6, 100),
)
# Which of the two is smaller depends on the picture.
SLOWEST_METHOD = Speed(6, 80)


def encode(pixels: Pixels, *, effort: int = 4, thorough: bool = False) -> bytes:
    """A picture without any loss.

    Args:
        pixels: uint8 [H, W, 3] or [H, W, 4] (RGBA; also transparent pixels keep their colours),
            sides 1..16383.
        effort: 0 (fastest) .. 9 (smallest).
        thorough: also try what Pillow does at its slowest method, and keep the smaller payload.

    Returns:
        The payload.

    Raises:
        BadArgument: pixels or effort are not as above.
        TooLarge: a side is longer than WebP allows.
        ToolUnavailable: Pillow was built without WebP.
    """
    check_pixels(pixels, (3, 4))
    if not 0 <= effort <= LARGEST_EFFORT:
        raise BadArgument(f"effort must be 0..{LARGEST_EFFORT}, not {effort}")
    height, width = pixels.shape[:2]
    if max(height, width) > MAX_SIDE:
        raise TooLarge(
            f"lossless WebP has sides of at most {MAX_SIDE} pixels, not {width}x{height}"
        )
    image = Image.fromarray(pixels)
    speeds = [SPEEDS[effort], SLOWEST_METHOD] if thorough else [SPEEDS[effort]]
    return min((_payload(_saved(image, speed)) for speed in speeds), key=len)


def _saved(image: Image.Image, speed: Speed) -> bytes:
    options = {"lossless": True, "exact": True, "method": speed.method, "quality": speed.quality}
    return saved(image, "WEBP", **options)


def decode(payload: bytes, height: int, width: int, channels: int = 3) -> Pixels:
    """The picture [H, W, channels] of a payload that `encode` made.

    Raises:
        Corrupt: the payload is not of such a picture.
        ToolUnavailable: Pillow was built without WebP.
    """
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE and channels in (3, 4)):
        raise Corrupt(
            f"lossless WebP has no pictures of {width}x{height} pixels with {channels} channels"
        )
    return opened(_file(payload, height, width, channels), "WEBP", (height, width, channels))


def _payload(file: bytes) -> bytes:
    """What follows the chunk's own header."""
    chunk = file[RIFF_BYTES:]
    size = int.from_bytes(chunk[4:CHUNK_BYTES], "little")
    body = chunk[CHUNK_BYTES : CHUNK_BYTES + size]
    if chunk[:4] != b"VP8L" or body[:1] != bytes([SIGNATURE]):
        raise BadArgument("Pillow wrote a WebP file of another kind than lossless VP8L")
    return body[HEADER_BYTES:]


def _file(payload: bytes, height: int, width: int, channels: int) -> bytes:
    """The WebP file around a payload."""
    fields = (width - 1) | (height - 1) << SIDE_BITS | (channels == 4) << 2 * SIDE_BITS
    body = bytes([SIGNATURE]) + fields.to_bytes(4, "little") + payload
    chunk = b"VP8L" + len(body).to_bytes(4, "little") + body + bytes(len(body) % 2)
    return b"RIFF" + (4 + len(chunk)).to_bytes(4, "little") + b"WEBP" + chunk
