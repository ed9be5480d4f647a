"""Which integer a residual becomes.

The nearest, or one closer to zero where the bits saved are worth the error.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.rans import SYMBOL_LIMIT, Tables
from codec.coding.latent_grid import Floats


def rounded(
    tables: Tables, residual: Floats, ids: NDArray[np.uint8], weight: Floats | float
) -> NDArray[np.int16]:
    """Symbols [n] of residuals [n] in steps; ids [n]: the tables they are coded with.

    A symbol moves one step towards zero where that saves `weight` (Weights.rate_weight) times more
    bits than it adds squared error.
    At high rate a bit is worth 2 ln 2 / 12 = 0.116 squared steps; a smaller weight was measured to
    be best (docs/design.md).
    """
    nearest = np.clip(np.rint(residual), 1 - SYMBOL_LIMIT, SYMBOL_LIMIT - 1)
    symbols = nearest.astype(np.int16)
    sign = np.sign(nearest)
    added = 1 + 2 * (residual - nearest) * sign
    most = np.max(weight, initial=0) * tables.most_saved  # spares most symbols the look-up
    some = np.flatnonzero((added < most) & (symbols != 0))
    worth = tables.saved(symbols[some], ids[some]) * (
        weight if isinstance(weight, float) else weight[some]
    )
    symbols[some] -= (sign[some] * (added[some] < worth)).astype(np.int16)
    return symbols
