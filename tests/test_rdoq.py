"""RDOQ gives the nearest integer, or one closer to zero if that lowers the cost."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.bitstream.rans import SYMBOL_LIMIT
from codec.coding.rdoq import rounded
from codec.weights import checkpoint

TABLES = checkpoint.load().tables


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.03, 0.06, 1.0]), st.booleans())
def test_as_bits_and_errors_say(seed: int, weight: float, per_place: bool) -> None:
    random = np.random.default_rng(seed)
    ids = random.integers(0, len(TABLES), 300).astype(np.uint8)
    residual = random.normal(0, TABLES.reach[ids] * random.choice([0.1, 1.0, 4.0], 300)).astype(
        np.float32
    )
    weights = random.uniform(0, 2 * weight, 300).astype(np.float32) if per_place else weight
    symbols = rounded(TABLES, residual, ids, weights)
    nearest = np.rint(residual).astype(np.int32)
    closer = nearest - np.sign(nearest)
    saved = TABLES.bits(nearest, ids) - TABLES.bits(closer, ids)
    np.testing.assert_allclose(TABLES.saved(nearest, ids), saved, atol=1e-6)
    added = np.square(residual - closer) - np.square(residual - nearest)
    gain = weights * saved - added
    clear = np.abs(gain) > 1e-3 * (
        1 + np.abs(residual)
    )  # more than the rounding error of squares of large numbers in float32
    np.testing.assert_array_equal(
        symbols[clear], np.where((gain > 0) & (nearest != 0), closer, nearest)[clear]
    )
    assert np.isin(symbols - nearest, (0, -1, 1)).all()


def test_values_beyond_the_coder_stop_at_its_limit() -> None:
    ids = np.zeros(3, np.uint8)
    symbols = rounded(TABLES, np.array([1e9, -1e9, 0.2], np.float32), ids, 0.03)
    np.testing.assert_array_equal(symbols, [SYMBOL_LIMIT - 1, 1 - SYMBOL_LIMIT, 0])
    assert len(rounded(TABLES, np.zeros(0, np.float32), ids[:0], 0.03)) == 0
