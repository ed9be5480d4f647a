"""Few colours, exact edges: close colours are merged, and the rest is coded without loss.

::

    pixels --merge colours within a radius (quality < 100)--> pixels of few colours
           --lossless WebP without its container (tools.payloads.vp8l)--> payload

At quality 100 nothing is merged: the same pixels come back, alpha included.
"""

from __future__ import annotations

from collections.abc import Sequence

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
# Radii that are tried in addition to another tool, at any quality: where a drawing is clean, a
# small radius costs few bytes and loses almost nothing. All of 0, 3, 6, 10, 14, 20, 27, 34 and 44
# save no more (24 of train/charts_clean); 14 alone saves 10 instead of 16 %.
TRIED_RADII = (6.0, 14.0, 27.0)
# Radii for pictures so small that every pixel counts: at least 37 dB (icons of 16 to 64 pixels).
SMALL_RADII = (3.0, 6.0)
# Pictures with more colours than this lose their low bits before close colours are searched.
MANY_COLOURS = 1 << 12
LOW_BITS = 2
# From this effort on, two searches of libwebp are tried if no other tool is tried.
THOROUGH_EFFORT = 5
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
    picture = merged(pixels, radius_of(quality))
    return vp8l.encode(picture, effort=effort, thorough=effort >= THOROUGH_EFFORT)


def trials(
    pixels: Pixels, *, effort: int = 5, radii: Sequence[float] = TRIED_RADII
) -> list[tuple[bytes, Pixels]]:
    """Code a picture at several radii.

    Args:
        pixels: as for `encode`.
        effort: as for `encode`.
        radii: in levels.

    Returns:
        Payloads, each with the pixels that `decode` returns for it.
    """
    colours = _Colours(pixels)
    pictures = [colours.merged(radius) for radius in radii]
    return [(vp8l.encode(picture, effort=effort), picture) for picture in pictures]


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
    return pixels if radius <= 0 else _Colours(pixels).merged(radius)


class _Colours:
    """The colours of a picture: how often and where each of them occurs."""

    def __init__(self, pixels: Pixels) -> None:
        runs = _Runs(pixels)
        if len(runs.colours) > MANY_COLOURS:
            coarse = np.minimum((pixels >> LOW_BITS << LOW_BITS) + (1 << LOW_BITS - 1), 255)
            runs = _Runs(coarse.astype(np.uint8))
        self.samples = _samples(runs.colours, pixels.shape[2])
        self.runs = runs

    def merged(self, radius: float) -> Pixels:
        """The picture with every colour replaced by the most frequent one within the radius."""
        leaders = _leaders(self.samples, self.runs.counts, radius)
        return self.runs.filled(self.samples[leaders])


class _Runs:
    """A picture as runs of equal pixels, row after row; drawings have few of them.

    Attributes:
        colours: of the picture, as one number each.
        counts: pixels of each colour.
    """

    def __init__(self, pixels: Pixels) -> None:
        self.shape = pixels.shape
        packed = _packed(pixels).ravel()
        begins = np.empty(len(packed), np.bool_)
        begins[0] = True
        np.not_equal(packed[1:], packed[:-1], out=begins[1:])
        starts = np.flatnonzero(begins)
        self.lengths = np.diff(starts, append=len(packed))
        self.colours, self.places = np.unique(packed[starts], return_inverse=True)
        self.counts = np.bincount(self.places, weights=self.lengths).astype(np.int64)

    def filled(self, samples: Pixels) -> Pixels:
        """A picture with other samples [colours, C] in place of the colours."""
        return np.repeat(samples[self.places], self.lengths, 0).reshape(self.shape)


def _leaders(samples: Pixels, counts: Ints, radius: float) -> Ints:
    """For each colour, the most frequent colour that replaces it; leaders are never neighbours."""
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
