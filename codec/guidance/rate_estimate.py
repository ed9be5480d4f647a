"""How many bits a place will cost at a QP, guessed from its pixels alone: guidance is rate-neutral before anything is coded.

A block of 16x16 pixels is described by the energies of bands of its 8x8 DCTs relative to the quantization step; a small
regression, fitted to real files (training.rate_fit), turns them into bits. Only ratios are used, its level does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from codec.guidance.files import SHIPPED, read
from codec.guidance.importance import Floats, Pixels

BLOCK, DCT = 16, 8
STEP_AT_MIDDLE = 16.0
LOG_STEP_PER_QP = 3.6 / 63
BANDS = 8
FEATURES = BANDS + 3


@lru_cache(maxsize=1)
def _dct() -> Floats:
    """Orthonormal DCT-II, [8, 8]."""
    k, i = np.arange(DCT)[:, None], np.arange(DCT)[None]
    basis = np.cos(np.pi * (2 * i + 1) * k / (2 * DCT)) * np.sqrt(2 / DCT)
    basis[0] /= np.sqrt(2)
    return basis.astype(np.float32)


@lru_cache(maxsize=1)
def _bands() -> Floats:
    """[64, BANDS]: averages the coefficients of similar frequency; the constant one is in no band."""
    frequency = np.add.outer(np.arange(DCT), np.arange(DCT)).ravel()
    edges = (1, 2, 3, 4, 5, 7, 9, 11, 15)
    member = np.stack([(low <= frequency) & (frequency < high) for low, high in pairwise(edges)], 1).astype(np.float32)
    return member / member.sum(0)


def _tiles(plane: Floats, side: int) -> Floats:
    """[H, W] -> [H / side, W / side, side, side]."""
    h, w = plane.shape
    return plane.reshape(h // side, side, w // side, side).transpose(0, 2, 1, 3)


def energies(pixels: Pixels) -> Floats:
    """Mean squares [h, w, FEATURES] per 16x16 block of a picture [H, W, 3]: luma bands, chroma, and the change of the mean."""
    height, width = pixels.shape[:2]
    missing = ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0))
    rgb = np.pad(pixels, missing, "edge").astype(np.float32)
    luma = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    coefficients = _dct() @ _tiles(luma, DCT) @ _dct().T
    bands = np.square(coefficients).reshape(*coefficients.shape[:2], DCT * DCT) @ _bands()
    h, w = bands.shape[0] // 2, bands.shape[1] // 2
    bands = bands.reshape(h, 2, w, 2, BANDS).mean((1, 3))
    chroma = [_tiles(rgb[..., c] - rgb[..., 1], BLOCK).var((2, 3)) for c in (0, 2)]
    mean = _tiles(luma, BLOCK).mean((2, 3))
    change = np.square(np.diff(mean, axis=0, prepend=mean[:1])) + np.square(np.diff(mean, axis=1, prepend=mean[:, :1]))
    return np.concatenate([bands, np.stack([*chroma, change], 2)], 2)


@dataclass(frozen=True)
class RateEstimate:
    """Weights of the regression: one hidden layer. first [FEATURES + 1, K], bias [K], second [K], offset []."""

    first: Floats
    bias: Floats
    second: Floats
    offset: Floats

    @classmethod
    def from_arrays(cls, arrays: dict[str, NDArray[np.float32]]) -> RateEstimate:
        """Raises KeyError where one is missing."""
        return cls(*(arrays[f"rate.{name}"] for name in ("first", "bias", "second", "offset")))

    def bits(self, blocks: Floats, qp: NDArray[np.generic] | float) -> Floats:
        """Bits [h, w] of blocks with these `energies` at QPs [h, w] or one QP (fractions allowed)."""
        t = (np.asarray(qp, np.float32) * LOG_STEP_PER_QP - 1.8)[..., None]
        relative = np.log2(1 + blocks * (np.exp(2 * t) / STEP_AT_MIDDLE**2))
        inputs = np.concatenate([relative, np.broadcast_to(t, (*relative.shape[:-1], 1))], -1)
        hidden = inputs @ self.first + self.bias
        np.maximum(hidden, 0.1 * hidden, out=hidden)
        return np.exp(np.clip(hidden @ self.second + self.offset, -8, 12))


@lru_cache(maxsize=1)
def shipped() -> RateEstimate:
    """The one that comes with the shipped student. Raises UnknownModel."""
    arrays, _ = read(SHIPPED)
    return RateEstimate.from_arrays(arrays)
