"""Fewer colours, chosen by error: close colours become the more frequent one of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.tools.palette_walk import Ints

# Radius in levels within which colours merge, at quality 0 and at quality 99; log-linear between.
WIDEST = 120.0
NARROWEST = 3.0
# Before the search, samples of pictures with more colours than this lose their low bits.
MANY_COLOURS = 1 << 12
# Weights of red, green and blue differences (BT.601 luma, softened so that hues stay apart).
CHANNEL_WEIGHTS = np.array([0.7, 1.0, 0.5])


def radius_of(quality: float) -> float:
    """The radius within which colours merge at a quality 0..99, in levels."""
    return WIDEST * (NARROWEST / WIDEST) ** (min(quality, 99.0) / 99)


def merged(
    colours: NDArray[np.uint32], indexes: Ints, channels: int, quality: float
) -> tuple[NDArray[np.uint32], Ints]:
    """Merge colours that are close.

    Args:
        colours: sorted packed colours [K].
        indexes: [H, W] into them.
        channels: samples of a colour.
        quality: 0..99.

    Returns:
        New sorted colours, and indexes into them.
    """
    counts = np.bincount(indexes.ravel(), minlength=len(colours))
    radius = radius_of(quality)
    values = _samples(colours, channels).astype(np.float64)
    weighted = values * _weights(channels)
    order = np.argsort(-counts, kind="stable")
    leader = np.full(len(colours), -1, np.int64)
    for one in order:
        if leader[one] >= 0:
            continue
        free = np.flatnonzero(leader < 0)
        away = np.abs(weighted[free] - weighted[one]).max(1)
        leader[free[away <= radius]] = one
    kept, new = np.unique(leader, return_inverse=True)
    return colours[kept], new.reshape(-1)[indexes]


def _samples(colours: NDArray[np.uint32], channels: int) -> NDArray[np.uint8]:
    shifts = 8 * np.arange(channels - 1, -1, -1, dtype=np.uint32)
    return (colours[:, None] >> shifts & 255).astype(np.uint8)


def _weights(channels: int) -> NDArray[np.float64]:
    if channels == 1:
        return np.ones(1)
    return np.concatenate([CHANNEL_WEIGHTS, np.ones(channels - 3)])
