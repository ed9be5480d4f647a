"""The codecs people use, through Pillow: real file bytes, and the quality that meets a size."""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.io.formats import open_picture

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Rival:
    """A Pillow format with fixed options; quality is the only knob."""

    name: str
    format: str
    options: tuple[tuple[str, Any], ...]
    qualities: tuple[int, ...]

    def encode(self, pixels: Pixels, quality: int) -> bytes:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, self.format, quality=quality, **dict(self.options))
        return stream.getvalue()

    @staticmethod
    def decode(data: bytes) -> Pixels:
        return np.asarray(open_picture(io.BytesIO(data)).convert("RGB"))

    def at_size(self, pixels: Pixels, size: int) -> bytes:
        """The largest file not above `size` bytes; the smallest possible one if none is."""
        return largest_below(lambda quality: self.encode(pixels, quality), 1, 95, size)


def largest_below(encode: Callable[[int], bytes], low: int, high: int, size: int) -> bytes:
    """Bisection over an integer quality."""
    best = encode(low)
    while low < high:
        middle = (low + high + 1) // 2
        data = encode(middle)
        if len(data) <= size:
            best = data
            low = middle
        else:
            high = middle - 1
    return best


JPEG = Rival(
    "JPEG",
    "JPEG",
    (("optimize", True), ("subsampling", "4:2:0")),
    (3, 6, 10, 15, 22, 30, 40, 52, 65, 75, 84),
)
WEBP = Rival("WebP", "WEBP", (("method", 6),), (1, 5, 12, 22, 35, 48, 60, 72, 80, 86, 90))
AVIF = Rival("AVIF", "AVIF", (("speed", 6),), (12, 20, 28, 36, 44, 52, 60, 68, 76, 84))
RIVALS = {rival.name: rival for rival in (JPEG, WEBP, AVIF)}


def in_db(similarity: float) -> float:
    """MS-SSIM, 0..1, by what is missing to 1, in dB; at most 100."""
    return -10 * math.log10(max(1 - similarity, 1e-10))


def psnr(a: Pixels, b: Pixels) -> float:
    """Decibels over all samples; 100 for equal pictures."""
    error = float(np.square(a.astype(np.float32) - b.astype(np.float32)).mean())
    return 10 * float(np.log10(255.0**2 / error)) if error else 100.0
