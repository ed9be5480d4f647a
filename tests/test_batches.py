"""Batches give the same bytes and pixels as single pictures, in the same order."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import codec
from codec.backends.runtime import Runtime
from codec.batches import AT_ONCE, overlapped


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "onnx"])
def test_a_batch_is_byte_identical(backend: Runtime, small: NDArray[np.uint8]) -> None:
    cotam = codec.load("tiny", device="cpu", backend=backend)
    pictures = [np.roll(small, 9 * shift, 1)[: 96 - 8 * shift] for shift in range(5)]
    pictures.append(np.full((40, 40, 3), 200, np.uint8))
    one_by_one = [cotam.encode(picture, quality=30) for picture in pictures]
    assert list(cotam.encode_batch(pictures, quality=30)) == one_by_one
    decoded = list(cotam.decode_batch(one_by_one, output="array"))
    for array, file in zip(decoded, one_by_one, strict=True):
        np.testing.assert_array_equal(array, cotam.decode(file, output="array"))


def test_an_error_comes_in_its_place(small: NDArray[np.uint8]) -> None:
    cotam = codec.load()
    good = cotam.encode(small, lossless=True)
    results = cotam.decode_batch([good, good[:40], good], output="array")
    np.testing.assert_array_equal(next(results), small)
    with pytest.raises(codec.CodecError):
        next(results)
    with pytest.raises(codec.BadArgument):
        cotam.encode_batch([small], no_such_option=1)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(), max_size=9), st.integers(0, 9))
def test_results_keep_their_order_and_items_wait(items: list[int], wanted: int) -> None:
    read = []

    def source() -> Iterator[int]:
        for item in items:
            read.append(item)
            yield item

    results = overlapped(lambda item: -item, source())
    taken = [result for _, result in zip(range(wanted), results)]
    assert taken == [-item for item in items[:wanted]]
    assert len(read) <= wanted + AT_ONCE + 1
    results.close()  # type: ignore[attr-defined]


def test_two_items_are_worked_on_at_a_time() -> None:
    both = threading.Barrier(AT_ONCE, timeout=20)
    assert len(list(overlapped(lambda _: both.wait(), range(2 * AT_ONCE)))) == 2 * AT_ONCE
