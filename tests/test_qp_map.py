"""Coding of QP maps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from codec.bitstream import qp_map
from codec.errors import BadArgument, CodecError, Corrupt

fields = hnp.arrays(
    np.int64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20), elements=st.integers(-63, 63)
)


@settings(deadline=None)
@given(fields)
def test_offsets_come_back(offsets: np.ndarray) -> None:
    np.testing.assert_array_equal(
        qp_map.decode_offsets(qp_map.encode_offsets(offsets), 20, 20), offsets
    )


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_give_a_field_or_a_typed_error(junk: bytes) -> None:
    try:
        values = qp_map.decode_offsets(junk, 16, 16)
    except CodecError:
        return
    assert np.abs(values).max() <= 63
    assert max(values.shape) <= 16


def test_a_field_finer_than_the_picture_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        qp_map.decode_offsets(qp_map.encode_offsets(np.zeros((5, 4), np.int64)), 4, 4)


def test_smooth_and_blocky_maps_are_small() -> None:
    rows, cols = np.mgrid[0:32, 0:48]
    gradient = ((rows + cols) // 8 - 5).astype(np.int64)
    three_levels = np.kron(
        np.random.default_rng(0).integers(-1, 2, (8, 8)) * 4, np.ones((4, 6), np.int64)
    )
    assert len(qp_map.encode_offsets(gradient)) < 200  # 1536 cells
    assert len(qp_map.encode_offsets(three_levels)) < 400
    assert len(qp_map.encode_offsets(three_levels[::4, ::6])) <= 3 + 28


def test_expand_takes_the_nearest_cell() -> None:
    field = np.array([[1, 2], [3, 4]])
    np.testing.assert_array_equal(qp_map.expand(field, 2, 4), [[1, 1, 2, 2], [3, 3, 4, 4]])
    assert qp_map.expand(field, 3, 2).tolist() == [[1, 2], [1, 2], [3, 4]]


@pytest.mark.parametrize(
    "bad",
    [np.zeros(3), np.zeros((0, 2)), np.full((2, 2), 64), np.full((2, 2), np.nan), np.zeros((3, 1))],
)
def test_a_users_map_is_checked(bad: np.ndarray) -> None:
    with pytest.raises(BadArgument):
        qp_map.check_map(bad, 2, 2)
