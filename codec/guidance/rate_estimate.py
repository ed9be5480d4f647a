"""An estimate, from pixels alone, of the bits that each place costs at a QP.

With it, guidance is rate-neutral before anything is coded. A block of 16x16 pixels is described by
the energies of bands of its 8x8 DCTs relative to the quantization step. A small regression, fitted
to real files (training.fit.rate_estimate), turns them into bits. Only ratios are used: places of a
picture are compared with each other, and pictures with the median training picture.

::

    pixels -> 8x8 DCT -> energies [h, w, FEATURES] -> relative to the step -> regression -> bits
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
from codec.networks.config import QP_MAX, STRIDE_Y, T_LIMIT

BLOCK = STRIDE_Y  # pixels of a block, along a side: a block is a latent position
DCT = 8  # pixels of a DCT, along a side
STEP_AT_MIDDLE = 16.0  # quantization step at t = 0, for pixels in 0..255
LOG_STEP_PER_QP = 2 * T_LIMIT / QP_MAX  # nats
BANDS = 8  # of DCT frequencies
BAND_EDGES = (
    1,
    2,
    3,
    4,
    5,
    7,
    9,
    11,
    15,
)  # first frequency (row + column) of each band, and the end
FEATURES = BANDS + 3  # the bands, two colour differences, and the change of the mean
LEAK = 0.1  # slope of the hidden layer's leaky ReLU below zero
LOG_BITS_RANGE = (-8, 12)  # nats; the regression's output is clipped to it
SINGLE = 32  # columns of blocks whose product with a matrix is computed in one thread
WORK_BYTES = 16  # memory that `energies` needs per pixel


@lru_cache(maxsize=1)
def _dct() -> Floats:
    """Return the orthonormal two-dimensional DCT-II of flattened 8x8 blocks.

    Returns:
        A matrix [64, 64]: coefficients = pixels @ matrix.
    """
    k = np.arange(DCT)[:, None]
    i = np.arange(DCT)[None]
    basis = np.cos(np.pi * (2 * i + 1) * k / (2 * DCT)) * np.sqrt(2 / DCT)
    basis[0] /= np.sqrt(2)
    return np.ascontiguousarray(np.kron(basis, basis).T.astype(np.float32))


@lru_cache(maxsize=1)
def _bands() -> Floats:
    """Return the matrix [64, BANDS] that averages coefficients of similar frequency.

    The constant coefficient is in no band.
    """
    frequency = np.add.outer(np.arange(DCT), np.arange(DCT)).ravel()
    in_band = [(low <= frequency) & (frequency < high) for low, high in pairwise(BAND_EDGES)]
    member = np.stack(in_band, 1).astype(np.float32)
    return member / member.sum(0)


def _blocks(plane: NDArray[np.generic], side: int) -> Floats:
    """Cut a plane into blocks: [side rows, side cols] -> [rows, cols, side * side]."""
    rows = plane.shape[0] // side
    cols = plane.shape[1] // side
    cut = np.ascontiguousarray(plane.reshape(rows, side, cols, side).transpose(0, 2, 1, 3))
    return cut.reshape(rows, cols, side * side).astype(np.float32)


def _pool(values: Floats) -> Floats:
    """Average 2x2 places: [2 h, 2 w, ...] -> [h, w, ...]."""
    return (values[::2, ::2] + values[1::2, ::2] + values[::2, 1::2] + values[1::2, 1::2]) / 4


def _variance(values: Floats) -> Floats:
    """Compute the variance over the last axis in one pass; values.var(-1) takes five."""
    squares: Floats = np.einsum("...i,...i->...", values, values)
    return squares / values.shape[-1] - np.square(values.mean(-1))


def energies(pixels: Pixels) -> Floats:
    """Compute the energies of a picture's blocks.

    Luma is rounded to whole levels, and chroma uses every second row and column: an estimate of
    bits needs no more.

    Args:
        pixels: uint8 [H, W, 3].

    Returns:
        Mean squares [h, w, FEATURES] per 16x16 block: bands of luma, two colour differences, and
        the change of the mean from the block to the left and the block above.
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
    """Compute `energies` of some rows of blocks, with the mean in the place of its change."""
    padded = _padded(pixels[band.start * BLOCK : band.stop * BLOCK])
    coefficients = _product(_blocks(np.asarray(Image.fromarray(padded).convert("L")), DCT), _dct())
    mean = _pool(coefficients[..., 0]) / DCT
    bands = _pool(_product(np.square(coefficients, out=coefficients), _bands()))
    # int16, because differences of colours reach from -255 to 255.
    sampled = padded[::2, ::2].astype(np.int16)
    chroma = [_variance(_blocks(sampled[..., c] - sampled[..., 1], BLOCK // 2)) for c in (0, 2)]
    memory.release(pixels)
    return np.concatenate([bands, np.stack([*chroma, mean], 2)], 2)


def _product(blocks: Floats, matrix: Floats) -> Floats:
    """Multiply [h, w, K] by [K, N], a few columns of blocks at a time.

    OpenBLAS computes products of up to 64^3 in one thread. Threads for larger ones wait for each
    other in every row: beside two busy processes, that took half a second.
    """
    product = np.empty((*blocks.shape[:2], matrix.shape[1]), np.float32)
    for first in range(0, blocks.shape[1], SINGLE):
        part = slice(first, first + SINGLE)
        np.matmul(blocks[:, part], matrix, out=product[:, part])
    return product


def _padded(pixels: Pixels) -> Pixels:
    """Repeat the edge below and to the right until blocks fit."""
    below = -pixels.shape[0] % BLOCK
    right = -pixels.shape[1] % BLOCK
    if not below and not right:
        return pixels
    return np.pad(pixels, ((0, below), (0, right), (0, 0)), "edge")


def regression_inputs(blocks: Floats, qp: NDArray[np.generic] | float) -> Floats:
    """Compute what the regression reads.

    Args:
        blocks: energies [..., FEATURES].
        qp: one QP, or QPs [...]; fractions are allowed.

    Returns:
        [..., FEATURES + 1]: log energies relative to the quantization step, and t of the QP.
    """
    t = (np.asarray(qp, np.float32) * LOG_STEP_PER_QP - T_LIMIT)[..., None]
    relative = np.log2(1 + blocks * (np.exp(2 * t) / STEP_AT_MIDDLE**2))
    return np.concatenate([relative, np.broadcast_to(t, (*relative.shape[:-1], 1))], -1)


@dataclass(frozen=True)
class RateEstimate:
    """The regression: one hidden layer of K units.

    Attributes:
        first: [FEATURES + 1, K], weights of the hidden layer.
        bias: [K], of the hidden layer.
        second: [K], weights of the output.
        offset: [], of the output.
        usual: [64], `log_bits` of the median training picture by QP; None if unknown.
    """

    first: Floats
    bias: Floats
    second: Floats
    offset: Floats
    usual: Floats | None = None

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.float32]]) -> RateEstimate:
        """Take the weights from a student's file. Raises KeyError if one is missing."""
        first, bias, second, offset = (
            arrays[f"rate.{name}"] for name in ("first", "bias", "second", "offset")
        )
        return cls(first, bias, second, offset, arrays.get("rate.usual"))

    def bits(self, blocks: Floats, qp: NDArray[np.generic] | float) -> Floats:
        """Estimate the bits of blocks.

        Args:
            blocks: [h, w, FEATURES], from `energies`.
            qp: QPs [h, w] or one QP; fractions are allowed.

        Returns:
            Bits [h, w].
        """
        cut = memory.bands(len(blocks), 4 * self.first.size * blocks[0, ..., 0].size)
        if np.ndim(qp) == 0:
            return np.concatenate([self._bits(blocks[band], qp) for band in cut])
        field = np.asarray(qp)
        return np.concatenate([self._bits(blocks[band], field[band]) for band in cut])

    def log_bits(self, blocks: Floats, qp: int) -> float:
        """Return the log of the mean bits of a picture's blocks [h, w, FEATURES] at a QP."""
        return float(np.log(self.bits(blocks, qp).mean()))

    def unusual(self, blocks: Floats, qp: int) -> float:
        """Compare a picture's cost with that of the median training picture.

        Args:
            blocks: [h, w, FEATURES], from `energies`.
            qp: 0..63.

        Returns:
            The log of the ratio, in nats; 0 if the median is unknown.
        """
        if self.usual is None:
            return 0.0
        return self.log_bits(blocks, qp) - float(self.usual[qp])

    def _bits(self, blocks: Floats, qp: NDArray[np.generic] | float) -> Floats:
        hidden = regression_inputs(blocks, qp) @ self.first + self.bias
        np.maximum(hidden, LEAK * hidden, out=hidden)
        return np.exp(np.clip(hidden @ self.second + self.offset, *LOG_BITS_RANGE))


@lru_cache(maxsize=1)
def shipped() -> RateEstimate:
    """Load the estimate that comes with the shipped student. Raises UnknownModel."""
    arrays, _ = read(SHIPPED)
    return RateEstimate.from_arrays(arrays)
