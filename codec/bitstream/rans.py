"""rANS over frozen integer tables: integer symbols <-> bytes.

Invariant: a decoder that pops the same table ids in the same order gets the same symbols, and ends with an empty coder. Coding is
by `constriction` (Rust, memory-safe); symbols of one table are coded together, so there is no Python loop per symbol.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

import constriction
import numpy as np
from numpy.typing import NDArray

from codec.errors import BadArgument, Corrupt

Ints = NDArray[np.integer]
PRECISION = 16
TOTAL = 1 << PRECISION
ESCAPE_BITS = 15
SYMBOL_LIMIT = 1 << ESCAPE_BITS

_Categorical = constriction.stream.model.Categorical
_ESCAPED = constriction.stream.model.Uniform(2 << ESCAPE_BITS)


class Tables:
    """Frozen frequency tables. Table t covers -L..L (L = reach[t]) and, as its last entry, the escape; entries sum to 2^16.

    frequencies: all tables in a row, integers >= 1; lengths: entries of each table (even, at least 4).
    """

    def __init__(self, frequencies: Ints, lengths: Ints) -> None:
        self.frequencies = np.ascontiguousarray(frequencies, dtype=np.uint16)
        self.lengths = np.asarray(lengths, dtype=np.int64)
        starts = np.concatenate([[0], np.cumsum(self.lengths)])
        if starts[-1] != len(self.frequencies) or (self.lengths < 4).any() or (self.lengths % 2).any():
            raise BadArgument("the tables' lengths do not fit their entries")
        sums = np.add.reduceat(self.frequencies.astype(np.int64), starts[:-1])
        if (sums != TOTAL).any() or (self.frequencies == 0).any():
            raise BadArgument("each table must have positive entries that sum to 65536")
        self.starts = starts[:-1]
        self.reach = ((self.lengths - 2) // 2).astype(np.int32)

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def models(self) -> list[object]:
        """constriction's models, one a table. Probabilities are multiples of 2^-16, exact in float32."""
        parts = np.split(self.frequencies.astype(np.float32) / np.float32(TOTAL), self.starts[1:])
        return [_Categorical(p, perfect=False) for p in parts]

    @cached_property
    def costs(self) -> NDArray[np.float32]:
        """Bits of every entry, laid out as `frequencies`; an escape's 16 raw bits are included."""
        bits = (PRECISION - np.log2(self.frequencies)).astype(np.float32)
        bits[self.starts + self.lengths - 1] += ESCAPE_BITS + 1
        return bits

    def bits(self, symbols: Ints, ids: Ints) -> NDArray[np.float32]:
        """What each symbol costs, in bits; same shape as the arguments."""
        reach = self.reach[ids]
        inside = np.abs(symbols) <= reach
        entry = np.where(inside, symbols + reach, 2 * reach + 1)
        return self.costs[self.starts[ids] + entry]


def _by_table(ids: Ints) -> Iterator[tuple[int, slice]]:
    """Runs of equal id in sorted ids."""
    inner = np.flatnonzero(np.diff(ids)) + 1
    edges = [0, *inner.tolist(), len(ids)] if len(ids) else []
    for start, stop in pairwise(edges):
        yield int(ids[start]), slice(start, stop)


class Encoder:
    """Collects blocks of symbols in decoding order; `finish` codes them backwards, as a stack wants."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.blocks: list[tuple[Ints, Ints]] = []

    def push(self, symbols: Ints, ids: Ints) -> None:
        """symbols, ids: flat, of one length; |symbol| < 2^15. Raises BadArgument beyond."""
        if len(symbols) and int(np.abs(symbols).max()) >= SYMBOL_LIMIT:
            raise BadArgument("a symbol is too large to be coded")
        self.blocks.append((symbols, ids))

    def finish(self) -> bytes:
        """The coded bytes; empty when all symbols were free."""
        coder = constriction.stream.stack.AnsCoder()
        for symbols, ids in reversed(self.blocks):
            self._code_block(coder, symbols, ids)
        return coder.get_compressed().astype("<u4").tobytes()

    def _code_block(self, coder: object, symbols: Ints, ids: Ints) -> None:
        order = np.argsort(ids, kind="stable")
        ordered, sorted_ids = symbols[order].astype(np.int32), ids[order]
        reach = self.tables.reach[sorted_ids]
        excess = np.abs(ordered) - reach - 1
        escaped = excess >= 0
        if escaped.any():
            raw = excess[escaped] * 2 + (ordered[escaped] < 0)
            coder.encode_reverse(raw.astype(np.int32), _ESCAPED)  # type: ignore[attr-defined]
        entries = np.where(escaped, 2 * reach + 1, ordered + reach).astype(np.int32)
        for table, run in reversed(list(_by_table(sorted_ids))):
            coder.encode_reverse(entries[run], self.tables.models[table])  # type: ignore[attr-defined]


class Decoder:
    """Pops blocks of symbols in the order they were pushed.

    Any bytes yield symbols; whether they were the right ones shows in `finish`. Raises Corrupt for bytes no encoder writes.
    """

    def __init__(self, tables: Tables, data: bytes) -> None:
        self.tables = tables
        if len(data) % 4:
            raise Corrupt("the entropy-coded part has an impossible length")
        try:
            self.coder = constriction.stream.stack.AnsCoder(np.frombuffer(data, "<u4").astype(np.uint32))
        except ValueError:
            raise Corrupt("the entropy-coded part has an impossible end") from None

    def pop(self, ids: Ints) -> NDArray[np.int32]:
        """The next len(ids) symbols."""
        order = np.argsort(ids, kind="stable")
        sorted_ids = ids[order]
        entries = np.empty(len(ids), np.int32)
        for table, run in _by_table(sorted_ids):
            entries[run] = self.coder.decode(self.tables.models[table], run.stop - run.start)
        reach = self.tables.reach[sorted_ids]
        ordered = entries - reach
        escaped = entries == 2 * reach + 1
        count = int(np.count_nonzero(escaped))
        if count:
            raw = self.coder.decode(_ESCAPED, count)
            magnitude = (raw >> 1) + reach[escaped] + 1
            if (magnitude >= SYMBOL_LIMIT).any():
                raise Corrupt("an entropy-coded value is out of range")
            ordered[escaped] = np.where(raw & 1, -magnitude, magnitude)
        symbols = np.empty(len(ids), np.int32)
        symbols[order] = ordered
        return symbols

    def finish(self) -> None:
        """Raises Corrupt unless every coded bit has been used and the coder is back in its initial state."""
        if not self.coder.is_empty():
            raise Corrupt("the entropy-coded part does not end where it should")
