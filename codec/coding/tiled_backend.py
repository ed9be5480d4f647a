"""A `Backend` for huge pictures, which runs another backend on tiles. numpy only.

::

    Pipeline --whole arrays--> TiledBackend --small--> Backend, called once
         \\--large--> tiles with margins -> Backend -> kept parts -> array on disk

Tiles see a margin around them, so that the integer-exact prior gives exactly what it gives for the
whole picture, and the transforms give the same pixels (coding.tiling).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec import memory
from codec.coding.backend import Backend, QpField, Weights
from codec.coding.latent_grid import CELL, STRIDE, Floats, latent_grid, pad, whole_cells
from codec.coding.tiling import LARGEST, Span, tiles
from codec.networks.config import PRIOR_MARGIN, LatentLayer

# Positions of z along a side of the prior's tiles.
PRIOR_TILE = 48


def _part(qp: QpField, row: Span, col: Span, unit: int = 1) -> QpField:
    """The QPs that a tile sees; `unit` QPs a side for each position of the tile's grid."""
    return qp if isinstance(qp, int) else qp[row.seen(unit), col.seen(unit)]


@dataclass(frozen=True)
class _Features:
    """What the prior of a layer starts from: the inner backend's features, or what tiles need."""

    whole: Any
    z: Floats
    qp: QpField


class TiledBackend:
    """The calls of coding.backend.Backend for pictures of any size, in tiles beyond LARGEST."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner

    @property
    def checkpoint(self) -> Weights:
        return self.inner.checkpoint

    def analysis(self, pixels: NDArray[np.uint8], qp: QpField) -> Floats:
        """Analyse a picture of any size.

        Args:
            pixels: [H, W, 3]; the inner backend sees its edge repeated up to whole 16x16 blocks.
            qp: one QP, or the QPs of the latent grid.

        Returns:
            y [4 a, 4 b, M]: the latent grid, extended with zeros to whole positions of z.
        """
        rows, cols = latent_grid(*pixels.shape[:2])
        whole = whole_cells(rows), whole_cells(cols)
        if max(rows, cols) <= LARGEST:
            blocks = pad(pixels, rows * STRIDE, cols * STRIDE, "edge")
            return pad(self.inner.analysis(blocks, qp), *whole, "constant")
        y = memory.empty((*whole, self.checkpoint.layers[-1].stop), np.float32)
        # The array is uninitialised beyond the picture.
        y[rows:] = 0
        y[:, cols:] = 0
        for row, col in tiles(rows, cols, self.checkpoint.margins[0]):
            part = pixels[row.seen(STRIDE), col.seen(STRIDE)]
            height = (row.last - row.first) * STRIDE
            width = (col.last - col.first) * STRIDE
            blocks = pad(part, height, width, "edge")
            tile = self.inner.analysis(blocks, _part(qp, row, col))
            y[row.kept(), col.kept()] = tile[row.inside(), col.inside()]
            memory.release(pixels, y)
        return y

    def hyper_analysis(self, y: Floats) -> Floats:
        if max(y.shape[:2]) <= LARGEST:
            return self.inner.hyper_analysis(y)
        z: Floats | None = None
        a = y.shape[0] // CELL
        b = y.shape[1] // CELL
        for row, col in tiles(a, b, PRIOR_MARGIN, PRIOR_TILE):
            tile = self.inner.hyper_analysis(y[row.seen(CELL), col.seen(CELL)])
            # The number of channels of z is known after the first tile.
            if z is None:
                z = np.empty((a, b, tile.shape[2]), np.float32)
            z[row.kept(), col.kept()] = tile[row.inside(), col.inside()]
            memory.release(y)
        assert z is not None
        return z

    def features(self, layer: LatentLayer, z: Floats, qp: QpField) -> _Features:
        small = CELL * max(z.shape[:2]) <= LARGEST
        return _Features(self.inner.features(layer, z, qp) if small else None, z, qp)

    def prior_step(
        self, layer: LatentLayer, step: int, features: _Features, decoded: list[Floats]
    ) -> tuple[Floats, NDArray[np.uint8]]:
        if features.whole is not None:
            return self.inner.prior_step(layer, step, features.whole, decoded)
        a, b = features.z.shape[:2]
        shape = 2 * a, 2 * b, layer.stop - layer.start
        mean = memory.empty(shape, np.float32)
        index = memory.empty(shape, np.uint8)
        for row, col in tiles(a, b, PRIOR_MARGIN, PRIOR_TILE):
            qp = _part(features.qp, row, col, CELL)
            # Computed again for every step, so that only one tile's features are in memory.
            start = self.inner.features(layer, features.z[row.seen(), col.seen()], qp)
            before = [values[row.seen(2), col.seen(2)] for values in decoded]
            tile_mean, tile_index = self.inner.prior_step(layer, step, start, before)
            mean[row.kept(2), col.kept(2)] = tile_mean[row.inside(2), col.inside(2)]
            index[row.kept(2), col.kept(2)] = tile_index[row.inside(2), col.inside(2)]
            memory.release(mean, index, *decoded)
        return mean, index

    def dequantised(self, y_hat: Floats, qp: QpField) -> Floats:
        return self.inner.dequantised(y_hat, qp)

    def synthesis(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        rows, cols = y_hat.shape[:2]
        if max(rows, cols) <= LARGEST:
            return self.inner.synthesis(y_hat, qp)
        pixels = memory.empty((rows * STRIDE, cols * STRIDE, 3), np.uint8)
        for row, col in tiles(rows, cols, self.checkpoint.margins[1]):
            tile = self.inner.synthesis(y_hat[row.seen(), col.seen()], _part(qp, row, col))
            pixels[row.kept(STRIDE), col.kept(STRIDE)] = tile[
                row.inside(STRIDE), col.inside(STRIDE)
            ]
            memory.release(pixels, y_hat)
        return pixels

    def preview(self, y_hat: Floats, qp: QpField) -> NDArray[np.uint8]:
        return self.inner.preview(y_hat, qp)
