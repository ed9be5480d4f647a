"""Predicts a vision tower's token error from pixels alone, and picks the tool's result to keep.

::

    original, decoded -> blocks of 16x16: root of error / (variance + 20) -> mean -> power

Errors matter to a tower where a picture is calm, and hardly in a busy block. The formula was fitted
to DeiT-Tiny's last tokens on native tiles (16 pictures of train/screens and 6 of
train/charts_clean, coded by AV1, palettes and JPEG): the correlation of the logarithms is 0.88.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
SIDE = 16
# Squared levels, 0..255^2, added to a block's variance: a tower does not notice smaller errors in
# calm blocks.
CALM_VARIANCE = 20.0
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
POWER = 1.38
SCALE = 1.4
OFFSET = 0.003
# Rate falls with about the root of the token error (AV1 tool, six pictures of train/screens), so an
# error that is smaller by a share of the reference's is worth half that share of its bytes. On 24
# of train/charts_clean this needs 16 % fewer bytes than AV1 alone at equal expected error; 1.0
# instead of 0.5 needs 14 % fewer, the product of bytes and the error's root 8 % more.
ERROR_WEIGHT = 0.5
# Errors far below this one count as none.
NO_ERROR = 0.003


@dataclass(frozen=True)
class Candidate:
    """A tool's result: its name, its payload, and the picture decoded from it."""

    tool: str
    payload: bytes
    decoded: Pixels


def token_error(original: Pixels, decoded: Pixels, calm: Floats | None = None) -> float:
    """Expected squared error of a tower's last tokens relative to their square, on native tiles.

    Args:
        original: uint8 [H, W, 3].
        decoded: the same shape.
        calm: the variance of each block of the original, if it is known.

    Returns:
        0 for equal pictures, about 1 where nothing is left.
    """
    if np.array_equal(original, decoded):
        return 0.0
    error = np.square(decoded.astype(np.float32) - original) @ LUMA
    variance = _variance(original) if calm is None else calm
    ratio = _mean_of_blocks(error) / (variance + CALM_VARIANCE)
    visible = float(np.sqrt(ratio).mean())
    return float(SCALE * ((visible + OFFSET) ** POWER - OFFSET**POWER))


def cost(size: float, error: float) -> float:
    """What a result loses, relative to a reference.

    The Lagrangian of rate and distortion at the slope of a usual rate curve.

    Args:
        size: bytes, as a share of the reference's.
        error: token error, as a share of the reference's.

    Returns:
        1.5 for the reference itself.
    """
    return size + ERROR_WEIGHT * error


def better(original: Pixels, candidates: Sequence[Candidate]) -> Candidate:
    """The candidate of the lowest cost relative to the first one; the first of equal ones."""
    calm = _variance(original)
    errors = [token_error(original, one.decoded, calm) + NO_ERROR for one in candidates]
    sizes = [len(one.payload) for one in candidates]
    costs = [cost(size / sizes[0], error / errors[0]) for size, error in zip(sizes, errors)]
    return candidates[int(np.argmin(costs))]


def _variance(original: Pixels) -> Floats:
    """The variance of luma in each block [ceil(H / 16), ceil(W / 16)]."""
    luma = original @ LUMA
    variance = _mean_of_blocks(np.square(luma)) - np.square(_mean_of_blocks(luma))
    return np.maximum(variance, 0)


def _mean_of_blocks(values: Floats) -> Floats:
    """Block means; the picture's last row and column are repeated to fill the last blocks."""
    missing = [(0, -side % SIDE) for side in values.shape]
    filled = np.pad(values, missing, mode="edge") if any(map(sum, missing)) else values
    rows = np.add.reduceat(filled, np.arange(0, filled.shape[0], SIDE), axis=0)
    sums = np.add.reduceat(rows, np.arange(0, filled.shape[1], SIDE), axis=1)
    return np.asarray(sums / SIDE**2, np.float32)
