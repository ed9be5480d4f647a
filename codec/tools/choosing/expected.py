"""What a vision tower is expected to lose, from pixels alone, and which tool's result to keep.

::

    original, decoded -> blocks of 16x16: root of error / (variance + 20) -> mean -> power

A tower sees errors where a picture is calm, hardly any in a busy block. The law was fitted to
DeiT-Tiny's last tokens on native tiles (16 pictures of train/screens and 6 of train/charts_clean,
coded by AV1, palettes and JPEG): the correlation of the logarithms is 0.88.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
SIDE = 16
# Squared levels, 0..255^2: what a tower does not notice in a calm block.
CALM_VARIANCE = 20.0
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
POWER = 1.38
SCALE = 1.4
OFFSET = 0.003
# Rate falls with about the root of the token error (AV1 tool, six pictures of train/screens), and
# errors far below this one count as none.
RATE_POWER = 0.5
NO_ERROR = 0.003


@dataclass(frozen=True)
class Candidate:
    """What a tool made of a picture: its name, its payload, and the picture decoded from it."""

    tool: str
    payload: bytes
    decoded: Pixels


def token_error(original: Pixels, decoded: Pixels) -> float:
    """Expected squared error of a tower's last tokens relative to their square, on native tiles.

    Args:
        original: uint8 [H, W, 3].
        decoded: the same shape.

    Returns:
        0 for equal pictures, about 1 where nothing is left.
    """
    if np.array_equal(original, decoded):
        return 0.0
    luma = original @ LUMA
    error = np.square(decoded.astype(np.float32) - original) @ LUMA
    variance = _mean_of_blocks(np.square(luma)) - np.square(_mean_of_blocks(luma))
    ratio = _mean_of_blocks(error) / (np.maximum(variance, 0) + CALM_VARIANCE)
    seen = float(np.sqrt(ratio).mean())
    return float(SCALE * ((seen + OFFSET) ** POWER - OFFSET**POWER))


def cost(size: int, error: float) -> float:
    """Bytes times what its error is worth: equal for two points of a usual rate curve."""
    return float(size * (error + NO_ERROR) ** RATE_POWER)


def better(original: Pixels, candidates: Sequence[Candidate]) -> Candidate:
    """The candidate of the lowest cost; the first of equal ones."""
    return min(
        candidates,
        key=lambda one: cost(len(one.payload), token_error(original, one.decoded)),
    )


def _mean_of_blocks(values: Floats) -> Floats:
    """[ceil(H / 16), ceil(W / 16)]; the last row and column are repeated to fill the blocks."""
    missing = [(0, -side % SIDE) for side in values.shape]
    filled = np.pad(values, missing, mode="edge") if any(map(sum, missing)) else values
    rows = np.add.reduceat(filled, np.arange(0, filled.shape[0], SIDE), axis=0)
    sums = np.add.reduceat(rows, np.arange(0, filled.shape[1], SIDE), axis=1)
    return np.asarray(sums / SIDE**2, np.float32)
