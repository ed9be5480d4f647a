"""Conversions between quality and QP, and parsing of sizes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codec import quality
from codec.errors import BadArgument, TargetTooSmall


def test_quality_covers_every_qp_in_order() -> None:
    qps = [quality.quality_to_qp(q / 2) for q in range(201)]
    assert qps == sorted(qps)
    assert set(qps) == set(range(64))
    assert all(quality.quality_to_qp(quality.qp_to_quality(qp)) == qp for qp in range(64))


@pytest.mark.parametrize("bad", [-1, 100.1, float("nan"), float("inf")])
def test_quality_out_of_range(bad: float) -> None:
    with pytest.raises(BadArgument):
        quality.quality_to_qp(bad)


@pytest.mark.parametrize(
    ("text", "size"),
    [("20KB", 20000), ("1.5 MiB", 1572864), ("800", 800), ("3k", 3000), ("7 b", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert quality.parse_size(text) == size


@pytest.mark.parametrize("bad", ["", "KB", "20XB", "-3", "0", "nan", "inf", "1e400"])
def test_bad_sizes(bad: str) -> None:
    with pytest.raises(BadArgument):
        quality.parse_size(bad)


@given(st.lists(st.integers(1, 1000), min_size=64, max_size=64).map(sorted), st.integers(1, 1100))
def test_the_search_finds_the_best_that_fits(sizes: list[int], target: int) -> None:
    if sizes[0] > target:
        with pytest.raises(TargetTooSmall):
            quality.search_qp(lambda qp: bytes(sizes[qp]), target)
    else:
        assert len(quality.search_qp(lambda qp: bytes(sizes[qp]), target)) == max(
            s for s in sizes if s <= target
        )
