"""Maps computed from the picture alone, without a network.

Errors are less visible where a picture is busy, and busy places cost many bits. Other image
encoders call this variance boost or adaptive quantization.
"""

from __future__ import annotations

import numpy as np

from codec.guidance.importance import Floats, Importance, Pixels
from codec.guidance.rate_estimate import BANDS, energies

# Squared levels of 0..255 added to the energy of a block: below it, a place is flat.
FLAT = 4.0


def cost(pixels: Pixels) -> Importance | None:
    """Finer steps where bits are few, by the rate estimate; see importance.Guide."""
    return Importance(np.ones((1, 1), np.float32), "cost")


def calm(pixels: Pixels) -> Importance | None:
    """Finer steps where the variance of luma is small; see importance.Guide."""
    return Importance(_calmness(pixels))


def _calmness(pixels: Pixels) -> Floats:
    """Minus the log variance of each 16x16 block, from 0 on, [h, w]."""
    energy = energies(pixels)[..., :BANDS].sum(-1)
    logs = np.log(FLAT + energy)
    return np.asarray(logs.max() - logs, np.float32)
