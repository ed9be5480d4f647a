"""Few colours, exact edges: close colours are merged, and the rest is coded without loss.

::

    pixels --merge colours within a radius (quality < 100)--> pixels of few colours
           --lossless WebP without its container (tools.payloads.vp8l)--> payload

At quality 100 nothing is merged: the same pixels come back, alpha included.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.tools.payloads import vp8l

Pixels = NDArray[np.uint8]
Ints = NDArray[np.int64]
BEST_QUALITY = 100
# (quality, radius in levels within which colours merge): about the token error of the AV1 tool at
# the same quality. Eight of train/charts_clean, DeiT-Tiny on native tiles: radius 48 loses 0.40 of
# the tokens' square, 32 0.067, 24 0.034, 16 0.015, 10 0.0064, 6 0.0030, 3 0.0006.
RADII = ((0, 48.0), (25, 40.0), (50, 34.0), (75, 28.0), (90, 22.0), (99, 6.0), (100, 0.0))
# Pictures with more colours than this lose their low bits before close colours are searched.
MANY_COLOURS = 1 << 12
LOW_BITS = 2
# Red, green and blue differences count by how well they are seen; alpha counts fully.
CHANNEL_WEIGHTS = np.array([0.7, 1.0, 0.5, 1.0], np.float32)


def encode(pixels: Pixels, *, quality: float = BEST_QUALITY, effort: int = 5) -> bytes:
    """Code a picture of few colours.

    Args:
        pixels: uint8 [H, W, 3] or [H, W, 4].
        quality: 0..100; 100 returns the same pixels.
        effort: 0 (fastest) .. 9 (smallest).

    Returns:
        The payload.

    Raises:
        BadArgument: the pixels are of another shape.
        TooLarge: a side is longer than 16383 pixels.
    """
    return vp8l.encode(merged(pixels, radius_of(quality)), effort=effort)


def decode(payload: bytes, height: int, width: int, channels: int) -> Pixels:
    """Decode a payload of `encode`.

    Args:
        payload: the bytes.
        height: pixels.
        width: pixels.
        channels: 3 or 4.

    Returns:
        uint8 [H, W, C].

    Raises:
        Corrupt: the payload is damaged.
    """
    return vp8l.decode(payload, height, width, channels)


def radius_of(quality: float) -> float:
    """The radius, in levels, within which colours merge at a quality of 0..100."""
    qualities, radii = zip(*RADII)
    return float(np.interp(quality, qualities, radii))


def merged(pixels: Pixels, radius: float) -> Pixels:
    """Give every pixel the most frequent colour within a radius of its own.

    Args:
        pixels: uint8 [H, W, C].
        radius: in levels, the largest weighted difference of a channel.

    Returns:
        uint8 [H, W, C] with fewer colours.
    """
    if radius <= 0:
        return pixels
    packed = _packed(pixels)
    colours, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    if len(colours) > MANY_COLOURS:
        coarse = np.minimum((pixels >> LOW_BITS << LOW_BITS) + (1 << LOW_BITS - 1), 255)
        packed = _packed(coarse.astype(np.uint8))
        colours, places, counts = np.unique(packed, return_inverse=True, return_counts=True)
    leaders = _leaders(_samples(colours, pixels.shape[2]), counts, radius)
    return _samples(colours[leaders], pixels.shape[2])[places.reshape(packed.shape)]


def _leaders(samples: Pixels, counts: Ints, radius: float) -> Ints:
    """For each colour, the most frequent one that stands for it: leaders are no neighbours."""
    weighted = samples * CHANNEL_WEIGHTS[: samples.shape[1]]
    order = np.argsort(-counts, kind="stable")
    leaders = np.full(len(samples), -1, np.int64)
    free = order
    while len(free):
        first = free[0]
        near = np.abs(weighted[free] - weighted[first]).max(1) <= radius
        leaders[free[near]] = first
        free = free[~near]
    return leaders


def _packed(pixels: Pixels) -> NDArray[np.uint32]:
    """One number for each pixel [H, W]."""
    packed = np.zeros(pixels.shape[:2], np.uint32)
    for channel in range(pixels.shape[2]):
        packed <<= 8
        packed |= pixels[..., channel]
    return packed


def _samples(packed: NDArray[np.uint32], channels: int) -> Pixels:
    """The inverse of `_packed`: [..., C]."""
    shifts = 8 * np.arange(channels - 1, -1, -1, dtype=np.uint32)
    return (packed[..., None] >> shifts & 255).astype(np.uint8)
