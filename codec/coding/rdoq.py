"""RDOQ: a residual becomes the nearest integer, or the next one towards zero to save bits."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.rans import SYMBOL_LIMIT, Tables
from codec.coding.latent_grid import Floats


def rounded(
    tables: Tables, residual: Floats, ids: NDArray[np.uint8], weight: Floats | float
) -> NDArray[np.int16]:
    """Round residuals with rate-distortion optimisation.

    A symbol moves one step towards zero if the bits saved, times `weight`, exceed the squared error
    added. At high rate a bit is worth 2 ln 2 / 12 = 0.116 squared steps; smaller weights were
    measured to be better (docs/decisions.md, 5).

    Args:
        tables: the entropy tables.
        residual: [n], in quantization steps.
        ids: [n], the tables of the symbols.
        weight: what a bit is worth in squared steps, one number or [n].

    Returns:
        Symbols [n].
    """
    nearest = np.clip(np.rint(residual), 1 - SYMBOL_LIMIT, SYMBOL_LIMIT - 1)
    symbols = nearest.astype(np.int16)
    sign = np.sign(nearest)
    # (r - (s - sign))^2 - (r - s)^2, in squared steps.
    added = 1 + 2 * (residual - nearest) * sign
    most = np.max(weight, initial=0) * tables.most_saved  # most symbols need no look-up then
    some = np.flatnonzero((added < most) & (symbols != 0))
    worth = tables.saved(symbols[some], ids[some]) * (
        weight if isinstance(weight, float) else weight[some]
    )
    symbols[some] -= (sign[some] * (added[some] < worth)).astype(np.int16)
    return symbols
