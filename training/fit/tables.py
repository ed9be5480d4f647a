"""Fits the frozen entropy tables to the symbols that the trained networks produce.

A table of y starts as the Gaussian of its scale, a table of z as the mean histogram of z. Symbol
counts from training pictures at all rates are added: tables with many counts follow the counts, and
the others keep their initial shape.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtr

from codec.bitstream.rans import TOTAL
from codec.networks.config import SCALE_COUNT, STRIDE_Z, Z_LIMIT
from codec.networks.integer import round_half_up
from codec.networks.model import Networks
from codec.networks.prior import scale_table
from codec.networks.transforms import pad_to_multiple
from training.data.pictures import list_pictures, read_picture
from training.data.qp_maps import QpMaps

# The tables of z have entries for -15..15 and for an escape symbol.
Z_REACH = 15
# Weight of the Gaussian, as a number of counted symbols.
PRIOR_COUNT = 2000.0
# Weight of each of z's two shared histograms, as a number of counted symbols.
Z_PRIOR_COUNT = 5
# A Gaussian's table ends at this many standard deviations.
GAUSSIAN_REACH = 4.5


def reach_of(scale: float) -> int:
    """The largest absolute value in the table of a scale; larger ones use the escape symbol."""
    return max(2, min(1023, int(np.ceil(GAUSSIAN_REACH * scale))))


def gaussian_row(scale: float) -> NDArray[np.float64]:
    """Probabilities of the values -L..L, then that of all larger ones (the escape symbol)."""
    reach = reach_of(scale)
    edges = ndtr((np.arange(-reach, reach + 2) - 0.5) / scale)
    row = np.diff(edges)
    return np.append(row, max(1 - row.sum(), 1e-7))


def to_frequencies(row: NDArray[np.float64]) -> NDArray[np.int64]:
    """Integers >= 1 that sum to 2^16; the largest entry absorbs the rounding error."""
    frequencies = 1 + np.floor(row / row.sum() * (TOTAL - len(row))).astype(np.int64)
    frequencies[np.argmax(frequencies)] += TOTAL - frequencies.sum()
    return frequencies


class Histogram:
    """Counts of the values -L..L, then of all larger ones (the escape symbol)."""

    def __init__(self, reach: int) -> None:
        self.reach = reach
        self.counts = np.zeros(2 * reach + 2)

    def add(self, symbols: NDArray[np.int64]) -> None:
        entries = np.where(np.abs(symbols) <= self.reach, symbols + self.reach, 2 * self.reach + 1)
        self.counts += np.bincount(entries, minlength=len(self.counts))


def some_pictures(root: Path, count: int) -> list[Path]:
    """A random choice of at most `count` pictures below a folder, the same one at every call."""
    paths = list_pictures(root)
    return [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[:count]]


def corners(paths: list[Path], side: int) -> Iterator[torch.Tensor]:
    """Cut the upper left corner out of each picture that is large enough.

    Args:
        paths: The pictures.
        side: Largest side of a crop, in pixels.

    Yields:
        [1, 3, H, W] in 0..1, sides multiples of 64.
    """
    for path in paths:
        pixels = read_picture(path)
        if pixels is None or min(pixels.shape[:2]) < STRIDE_Z:
            continue
        height, width = (min(side, size // STRIDE_Z * STRIDE_Z) for size in pixels.shape[:2])
        yield torch.from_numpy(pixels[:height, :width].copy()).permute(2, 0, 1)[None].float() / 255


@torch.no_grad()
def collect(
    networks: Networks, pictures: list[Path], side: int = 512
) -> tuple[list[Histogram], list[Histogram]]:
    """Count symbols of pictures at random QPs and maps, per scale index and per channel of z."""
    scales = [Histogram(reach_of(float(s))) for s in scale_table()]
    maps = QpMaps()
    channels = [Histogram(Z_REACH) for _ in range(networks.config.z)]
    for x in corners(pictures, side):
        qp = maps(x)
        y = networks.g_a(x, qp)
        z = torch.round(networks.h_a(pad_to_multiple(y, 4))).clamp(-Z_LIMIT, Z_LIMIT)
        for channel, histogram in enumerate(channels):
            histogram.add(z[0, channel].flatten().numpy().astype(np.int64))
        networks.prior.code(
            y, z, qp, lambda values, mean, index: _count(values, mean, index, scales)
        )
    return scales, channels


def _count(
    values: torch.Tensor, mean: torch.Tensor, index: torch.Tensor, scales: list[Histogram]
) -> torch.Tensor:
    symbols = round_half_up(values - mean)
    flat = symbols.flatten().numpy().astype(np.int64)
    ids = index.flatten().numpy().astype(np.int64)
    for scale in np.unique(ids):
        scales[scale].add(flat[ids == scale])
    return mean + symbols


def fit_tables(
    networks: Networks, root: Path, count: int
) -> tuple[NDArray[np.uint16], NDArray[np.int64]]:
    """Fit all tables.

    Args:
        networks: On the CPU.
        root: The folder of training pictures.
        count: How many of them to use.

    Returns:
        The concatenated frequencies of 64 scale tables and of one table per channel of z, and
        the tables' lengths.
    """
    scales, channels = collect(networks, some_pictures(root, count))
    rows = []
    for scale, histogram in zip(scale_table(), scales):
        # The distribution of a scale is symmetric, so both signs share their counts.
        symmetric = histogram.counts.copy()
        symmetric[:-1] = (symmetric[:-1] + symmetric[-2::-1]) / 2
        rows.append(to_frequencies(gaussian_row(float(scale)) * PRIOR_COUNT + symmetric))
    shared = np.sum([h.counts for h in channels], axis=0)
    for histogram in channels:
        smooth = np.exp(-np.abs(np.arange(2 * Z_REACH + 2) - Z_REACH) / 2.0)
        shapes = smooth / smooth.sum() + shared / shared.sum()
        rows.append(to_frequencies(shapes * Z_PRIOR_COUNT + histogram.counts))
    assert len(scales) == SCALE_COUNT
    return np.concatenate(rows).astype(np.uint16), np.array([len(row) for row in rows])
