"""How many bits a place will cost at a QP, guessed from its pixels alone: guidance is rate-neutral before anything is coded.

A block of 16x16 pixels is described by the energies of bands of its 8x8 DCTs relative to the quantization step; a small
regression, fitted to real files (training.rate_fit), turns them into bits. Only ratios are used, its level does not matter:
places of a picture are compared with each other, and pictures with the usual one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec import memory
from codec.guidance.files import SHIPPED, read
from codec.guidance.importance import Floats, Pixels

BLOCK = 16
DCT = 8
STEP_AT_MIDDLE = 16.0
LOG_STEP_PER_QP = 3.6 / 63
BANDS = 8
FEATURES = BANDS + 3
WORK_BYTES = 16  # of memory a pixel takes on the way


@lru_cache(maxsize=1)
def _dct() -> Floats:
    """Orthonormal two-dimensional DCT-II of a flattened 8x8 block as a matrix, [64, 64]: coefficients = pixels @ it."""
    k = np.arange(DCT)[:, None]
    i = np.arange(DCT)[None]
    basis = np.cos(np.pi * (2 * i + 1) * k / (2 * DCT)) * np.sqrt(2 / DCT)
    basis[0] /= np.sqrt(2)
    return np.ascontiguousarray(np.kron(basis, basis).T.astype(np.float32))


@lru_cache(maxsize=1)
def _bands() -> Floats:
    """[64, BANDS]: averages the coefficients of similar frequency; the constant one is in no band."""
    frequency = np.add.outer(np.arange(DCT), np.arange(DCT)).ravel()
    edges = (1, 2, 3, 4, 5, 7, 9, 11, 15)
    member = np.stack(
        [(low <= frequency) & (frequency < high) for low, high in pairwise(edges)], 1
    ).astype(np.float32)
    return member / member.sum(0)


def _blocks(plane: NDArray[np.generic], side: int) -> Floats:
    """[side rows, side cols] -> [rows, cols, side * side]."""
    rows = plane.shape[0] // side
    cols = plane.shape[1] // side
    cut = np.ascontiguousarray(plane.reshape(rows, side, cols, side).transpose(0, 2, 1, 3))
    return cut.reshape(rows, cols, side * side).astype(np.float32)


def _pool(values: Floats) -> Floats:
    """[2 h, 2 w, ...] -> means [h, w, ...]."""
    return (values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]) / 4


def _variance(values: Floats) -> Floats:
    """Over the last axis, in one pass: values.var(-1) takes five."""
    squares: Floats = np.einsum("...i,...i->...", values, values)
    return squares / values.shape[-1] - np.square(values.mean(-1))


def energies(pixels: Pixels) -> Floats:
    """Mean squares [h, w, FEATURES] per 16x16 block of a picture [H, W, 3]: luma bands, chroma, and the change of the mean.

    Luma is rounded to whole levels, chroma seen at every second row and column: a guess of bits needs no more.
    """
    height, width = pixels.shape[:2]
    cut = memory.bands(-(-height // BLOCK), WORK_BYTES * BLOCK * width)
    blocks = np.concatenate([_energies(pixels, band) for band in cut])
    mean = blocks[..., -1]
    across = np.diff(mean, axis=1, prepend=mean[:, :1])
    down = np.diff(mean, axis=0, prepend=mean[:1])
    blocks[..., -1] = np.square(down) + np.square(across)
    return blocks


def _energies(pixels: Pixels, band: slice) -> Floats:
    """Some rows of blocks of `energies`, with the mean where its change will be."""
    part = pixels[band.start * BLOCK : band.stop * BLOCK]
    missing = -part.shape[0] % BLOCK, -part.shape[1] % BLOCK
    padded = (
        np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), "edge") if any(missing) else part
    )
    coefficients = _blocks(np.asarray(Image.fromarray(padded).convert("L")), DCT) @ _dct()
    mean = _pool(coefficients[..., 0]) / DCT
    bands = _pool(np.square(coefficients, out=coefficients) @ _bands())
    sampled = padded[::2, ::2].astype(np.int16)
    chroma = [_variance(_blocks(sampled[..., c] - sampled[..., 1], BLOCK // 2)) for c in (0, 2)]
    memory.release(pixels)
    return np.concatenate([bands, np.stack([*chroma, mean], 2)], 2)


def regression_inputs(blocks: Floats, qp: NDArray[np.generic] | float) -> Floats:
    """[..., FEATURES + 1]: log energies relative to the step of each block's QP, and that QP's t."""
    t = (np.asarray(qp, np.float32) * LOG_STEP_PER_QP - 1.8)[..., None]
    relative = np.log2(1 + blocks * (np.exp(2 * t) / STEP_AT_MIDDLE**2))
    return np.concatenate([relative, np.broadcast_to(t, (*relative.shape[:-1], 1))], -1)


@dataclass(frozen=True)
class RateEstimate:
    """Weights of the regression: one hidden layer. first [FEATURES + 1, K], bias [K], second [K], offset [].

    usual: [64], what a usual picture costs by QP, as `log_bits`; None where nobody knows.
    """

    first: Floats
    bias: Floats
    second: Floats
    offset: Floats
    usual: Floats | None = None

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.float32]]) -> RateEstimate:
        """Raises KeyError where one is missing."""
        first, bias, second, offset = (
            arrays[f"rate.{name}"] for name in ("first", "bias", "second", "offset")
        )
        return cls(first, bias, second, offset, arrays.get("rate.usual"))

    def bits(self, blocks: Floats, qp: NDArray[np.generic] | float) -> Floats:
        """Bits [h, w] of blocks with these `energies` at QPs [h, w] or one QP (fractions allowed)."""
        cut = memory.bands(len(blocks), 4 * self.first.size * blocks[0, ..., 0].size)
        if np.ndim(qp) == 0:
            return np.concatenate([self._bits(blocks[band], qp) for band in cut])
        field = np.asarray(qp)
        return np.concatenate([self._bits(blocks[band], field[band]) for band in cut])

    def log_bits(self, blocks: Floats, qp: int) -> float:
        """The log of the mean bits of a picture's blocks."""
        return float(np.log(self.bits(blocks, qp).mean()))

    def unusual(self, blocks: Floats, qp: int) -> float:
        """By which factor a picture with these `energies` costs more at a QP than the usual one, as a log."""
        return 0.0 if self.usual is None else self.log_bits(blocks, qp) - float(self.usual[qp])

    def _bits(self, blocks: Floats, qp: NDArray[np.generic] | float) -> Floats:
        hidden = regression_inputs(blocks, qp) @ self.first + self.bias
        np.maximum(hidden, 0.1 * hidden, out=hidden)
        return np.exp(np.clip(hidden @ self.second + self.offset, -8, 12))


@lru_cache(maxsize=1)
def shipped() -> RateEstimate:
    """The one that comes with the shipped student. Raises UnknownModel."""
    arrays, _ = read(SHIPPED)
    return RateEstimate.from_arrays(arrays)
