"""The latent grid: its size, the four steps in which it is coded, and the bits of each position.

No networks here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.rans import Tables
from codec.networks.config import PRIOR_STEPS, STRIDE_Y, STRIDE_Z

Floats = NDArray[np.float32]

STRIDE = STRIDE_Y  # pixels per latent position, along a side
CELL = STRIDE_Z // STRIDE_Y  # latent positions per position of z, along a side
STEPS = PRIOR_STEPS
POSITIONS = ((0, 0), (1, 1), (0, 1), (1, 0))


def latent_grid(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of y for a picture of height x width pixels."""
    return -(-height // STRIDE), -(-width // STRIDE)


def whole_cells(side: int) -> int:
    """A side of the latent grid, extended to whole positions of z."""
    return -(-side // CELL) * CELL


def step_of(y: NDArray[Any], step: int) -> NDArray[Any]:
    """Select the set of a step.

    Step s holds channel c at position POSITIONS[s XOR (c mod 4)] of each 2x2 cell.

    Args:
        y: [2 h, 2 w, M], M a multiple of 4.
        step: 0..3.

    Returns:
        [h, w, M].
    """
    rows, cols, m = y.shape
    cells = y.reshape(rows // 2, 2, cols // 2, 2, m // 4, 4)
    out = np.empty((rows // 2, cols // 2, m // 4, 4), y.dtype)
    for group in range(4):
        i, j = POSITIONS[step ^ group]
        out[..., group] = cells[:, i, :, j, :, group]
    return out.reshape(rows // 2, cols // 2, m)


def split_steps(y: NDArray[Any]) -> list[NDArray[Any]]:
    """All four sets of `step_of`."""
    return [step_of(y, step) for step in range(STEPS)]


def merge_steps(sets: list[NDArray[Any]], y: NDArray[Any]) -> None:
    """Undo `split_steps`: write four sets [h, w, M] into y [2 h, 2 w, M]."""
    h, w, m = sets[0].shape
    cells = y.reshape(h, 2, w, 2, m // 4, 4)  # splits axes only: a view
    for step, values in enumerate(sets):
        parts = values.reshape(h, w, m // 4, 4)
        for group in range(4):
            i, j = POSITIONS[step ^ group]
            cells[:, i, :, j, :, group] = parts[..., group]


def pad(array: NDArray[Any], rows: int, cols: int, mode: Any) -> NDArray[Any]:
    """Pad an array below and to the right up to rows x cols; mode: of numpy.pad."""
    missing = [(0, rows - array.shape[0]), (0, cols - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return (
        np.pad(array, missing, mode=mode)
        if rows > array.shape[0] or cols > array.shape[1]
        else array
    )


class Meter:
    """Adds up the bits spent per latent position, if they are wanted."""

    def __init__(self, tables: Tables, enabled: bool, rows: int, cols: int) -> None:
        self.tables = tables
        self.enabled = enabled
        self.rows = rows
        self.cols = cols
        self.y: Floats = np.zeros(
            (whole_cells(rows), whole_cells(cols)) if enabled else (0, 0), np.float32
        )

    def add_z(
        self, symbols: NDArray[np.integer], ids: NDArray[np.uint8], shape: tuple[int, ...]
    ) -> None:
        if self.enabled:
            self.z = self.tables.bits(symbols, ids).reshape(shape).sum(2)

    def add_step(
        self,
        step: int,
        band: slice,
        shape: tuple[int, ...],
        where: NDArray[np.intp],
        symbols: NDArray[np.integer],
        ids: NDArray[np.uint8],
    ) -> None:
        """Add the bits of some rows of a step's set.

        Args:
            step: 0..3.
            band: rows of the set.
            shape: of these rows, [rows, columns, channels].
            where: flat indexes of the coded symbols.
            symbols: their values.
            ids: their tables.
        """
        if not self.enabled:
            return
        bits = np.zeros(shape, np.float32)
        bits.reshape(-1)[where] = self.tables.bits(symbols, ids)
        groups = bits.reshape(*shape[:2], -1, 4).sum(2)
        for group in range(4):
            i, j = POSITIONS[step ^ group]
            self.y[2 * band.start + i : 2 * band.stop : 2, j::2] += groups[..., group]

    def total(self) -> Floats | None:
        """[rows, cols]; the bits of a z position are shared by the latent positions below it."""
        if not self.enabled:
            return None
        # Scaled to the total of z: its positions repeat, and those beyond the border are cut off.
        z = np.repeat(np.repeat(self.z, CELL, 0), CELL, 1)[: self.rows, : self.cols]
        return self.y[: self.rows, : self.cols] + z * (self.z.sum() / max(float(z.sum()), 1e-9))
