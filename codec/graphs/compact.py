"""Stores weights in fewer bytes, as int8 or float16, wherever that is exact.

::

    float32 rows --all values are (-127..127) 2^e of the row--> int8, 2^e --Cast, Mul--> the same
                 --all values are float16 ones-----------------> float16 ----Cast------> the same
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codec.graphs.onnx_file import Array

LEAST = 256  # values; smaller constants stay as they are
INT8_MAX = 127


@dataclass(frozen=True)
class Stored:
    """A constant as it is stored.

    Attributes:
        values: int8 or float16.
        scale: float32 factors, one for each row, that broadcast to the values; None for none.
    """

    values: Array
    scale: Array | None = None


def stored(array: Array) -> Stored | None:
    """The smallest exact form of a constant; None where it needs float32."""
    if array.dtype != np.float32 or array.size < LEAST:
        return None
    rows = array.reshape(len(array), -1)
    largest = np.abs(rows).max(1)
    # Factors are powers of two, so that dividing by them is exact.
    scale = np.exp2(np.ceil(np.log2(np.where(largest, largest, INT8_MAX) / INT8_MAX)))
    whole = rows / scale[:, None]
    if (whole == np.rint(whole)).all() and np.abs(whole).max() <= INT8_MAX:
        factors = scale.reshape(-1, *[1] * (array.ndim - 1)).astype(np.float32)
        return Stored(whole.astype(np.int8).reshape(array.shape), factors)
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    return Stored(half) if (half.astype(np.float32) == array).all() else None
