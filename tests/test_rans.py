"""rANS: symbols are decoded exactly, cost their entropy, and leave the decoder empty."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.bitstream.rans import SYMBOL_LIMIT, Decoder, Encoder, Tables
from codec.errors import BadArgument, CodecError, Corrupt
from codec.weights import checkpoint

TABLES = checkpoint.load().tables


@st.composite
def blocks(draw: st.DrawFn) -> list[tuple[np.ndarray, np.ndarray]]:
    """A few blocks of symbols with the ids of their tables; some symbols are far out of range."""
    seed, count = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, 4))
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        size = draw(st.sampled_from([0, 1, 2, 17, 400]))
        ids = random.integers(0, len(TABLES), size).astype(np.uint8)
        symbols = random.normal(
            0, TABLES.reach[ids] * draw(st.sampled_from([0.2, 1.0, 30.0]))
        ).round()
        found.append((np.clip(symbols, 1 - SYMBOL_LIMIT, SYMBOL_LIMIT - 1).astype(np.int32), ids))
    return found


@settings(max_examples=60, deadline=None)
@given(blocks())
def test_symbols_come_back(found: list[tuple[np.ndarray, np.ndarray]]) -> None:
    encoder = Encoder(TABLES)
    for symbols, ids in found:
        encoder.push(symbols, ids)
    data = encoder.finish()
    decoder = Decoder(TABLES, data)
    for symbols, ids in found:
        np.testing.assert_array_equal(decoder.pop(ids), symbols)
    decoder.finish()
    promised = sum(float(TABLES.bits(s, i).sum()) for s, i in found)
    assert len(data) * 8 <= promised * 1.001 + 64


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_give_symbols_or_a_typed_error(junk: bytes) -> None:
    ids = np.tile(np.arange(len(TABLES), dtype=np.uint8), 5)
    try:
        decoder = Decoder(TABLES, junk)
        symbols = decoder.pop(ids)
        decoder.finish()
    except CodecError:
        return
    assert (np.abs(symbols) < SYMBOL_LIMIT).all()


def test_left_over_bits_are_corrupt() -> None:
    encoder = Encoder(TABLES)
    ids = np.full(1000, 40, np.uint8)
    encoder.push(np.arange(1000, dtype=np.int32) % 7, ids)
    data = encoder.finish()
    decoder = Decoder(TABLES, data)
    decoder.pop(ids[:900])
    with pytest.raises(Corrupt):
        decoder.finish()
    with pytest.raises(Corrupt):
        Decoder(TABLES, data[:-1])
    with pytest.raises(Corrupt):
        Decoder(TABLES, bytes(8))


def test_tables_are_checked() -> None:
    good = np.array([1, 2, 65532, 1])
    Tables(good, np.array([4]))
    for frequencies, lengths in (
        (good, np.array([3])),
        (np.array([1, 2, 65533, 1]), np.array([4])),
        (np.array([0, 3, 65532, 1]), np.array([4])),
        (np.array([65532, 2, 2]), np.array([3])),
    ):
        with pytest.raises(BadArgument):
            Tables(frequencies, lengths)


def test_a_symbol_out_of_range_is_refused() -> None:
    with pytest.raises(BadArgument):
        Encoder(TABLES).push(np.array([SYMBOL_LIMIT]), np.array([0], np.uint8))
