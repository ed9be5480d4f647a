"""rANS over frozen integer tables: integer symbols <-> bytes.

Invariant: a decoder that pops the same table ids in the same order gets the same symbols, and ends with an empty coder. Coding is
by `constriction` (Rust, memory-safe); symbols of one table are coded together, so there is no Python loop per symbol.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import constriction
import numpy as np
from numpy.typing import NDArray

from codec.errors import BadArgument, Corrupt

Ints = NDArray[np.integer]
PRECISION = 16
TOTAL = 1 << PRECISION
ESCAPE_BITS = 15
SYMBOL_LIMIT = 1 << ESCAPE_BITS
PART = 1 << 22  # symbols that are sorted at a time: what that takes does not grow with the picture

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
        if (
            starts[-1] != len(self.frequencies)
            or (self.lengths < 4).any()
            or (self.lengths % 2).any()
        ):
            raise BadArgument("the tables' lengths do not fit their entries")
        sums = np.add.reduceat(self.frequencies.astype(np.int64), starts[:-1])
        if (sums != TOTAL).any() or (self.frequencies == 0).any():
            raise BadArgument("each table must have positive entries that sum to 65536")
        self.starts = starts[:-1]
        self.reach = ((self.lengths - 2) // 2).astype(np.int32)

    def __len__(self) -> int:
        return len(self.lengths)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle without the coder's models, which cannot travel and are made anew."""
        return Tables, (self.frequencies, self.lengths)

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

    @cached_property
    def _savings(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Where each table's zero is, and what one step towards zero saves for values of -(L + 2)..L + 2."""
        parts = []
        for start, reach in zip(self.starts, self.reach):
            inside = self.costs[start : start + 2 * reach + 1]
            escape = self.costs[start + 2 * reach + 1]
            up = np.diff(np.r_[inside[reach:], escape])
            down = np.diff(np.r_[inside[reach::-1], escape])
            parts.append(np.r_[np.float32(0), down[::-1], np.float32(0), up, np.float32(0)])
        lengths = np.array([len(part) for part in parts])
        return np.cumsum(lengths) - lengths + lengths // 2, np.concatenate(parts)

    @cached_property
    def most_saved(self) -> np.float32:
        """The largest value of `saved`."""
        return np.float32(self._savings[1].max())

    def saved(self, symbols: Ints, ids: Ints) -> NDArray[np.float32]:
        """Bits that a symbol one closer to zero would save; 0 for symbols that are 0."""
        zero, savings = self._savings
        far = self.reach[ids] + 2
        return savings[
            zero[ids] + np.minimum(np.maximum(symbols, -far), far)
        ]  # np.clip takes four times as long


def _parts(count: int) -> Iterator[slice]:
    """0..count in parts of at most PART."""
    for start in range(0, count, PART):
        yield slice(start, min(start + PART, count))


class _Sorting:
    """The symbols of one table together, each table's in their order: where they go, a part at a time.

    ids: the sorted ids; runs: (table, its place among them).
    """

    def __init__(self, ids: Ints) -> None:
        self.unsorted = ids
        counts = sum(
            (np.bincount(ids[part], minlength=256) for part in _parts(len(ids))),
            np.zeros(256, np.int64),
        )
        self.stops = np.cumsum(counts)
        self.starts = self.stops - counts
        self.ids = np.repeat(np.arange(256, dtype=np.uint8), counts)
        self.runs = [
            (int(t), slice(int(self.starts[t]), int(self.stops[t]))) for t in np.flatnonzero(counts)
        ]

    def __iter__(self) -> Iterator[tuple[slice, Ints, Ints | slice]]:
        """(a part of the symbols, its order by table, where these go)."""
        if len(self.unsorted) <= PART:
            yield slice(None), np.argsort(self.unsorted, kind="stable"), slice(None)
            return
        cursor = self.starts.copy()
        for part in _parts(len(self.unsorted)):
            ids = self.unsorted[part]
            here = np.bincount(ids, minlength=256)
            places = np.arange(len(ids)) + np.repeat(cursor - (np.cumsum(here) - here), here)
            cursor += here
            yield part, np.argsort(ids, kind="stable"), places


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
        sorting = _Sorting(ids)
        entries = np.empty(len(ids), np.int32)
        for part, order, places in sorting:
            entries[places] = symbols[part][order]
        far = []
        for part in _parts(len(ids)):
            reach = self.tables.reach[sorting.ids[part]]
            values = entries[part]
            values += reach
            escaped = np.flatnonzero(values.view(np.uint32) > 2 * reach)  # those below 0, too
            if len(escaped):
                reach, excess = reach[escaped], values[escaped] - reach[escaped]
                values[escaped] = 2 * reach + 1
                far.append((2 * (np.abs(excess) - reach - 1) + (excess < 0)).astype(np.int32))
        for raw in reversed(far):
            coder.encode_reverse(raw, _ESCAPED)  # type: ignore[attr-defined]
        for table, run in reversed(sorting.runs):
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
            self.coder = constriction.stream.stack.AnsCoder(
                np.frombuffer(data, "<u4").astype(np.uint32)
            )
        except ValueError:
            raise Corrupt("the entropy-coded part has an impossible end") from None

    def pop(self, ids: Ints) -> NDArray[np.int16]:
        """The next len(ids) symbols."""
        sorting = _Sorting(ids)
        entries = np.empty(len(ids), np.uint16)
        for table, run in sorting.runs:
            entries[run] = self.coder.decode(self.tables.models[table], run.stop - run.start)
        ordered = np.empty(len(ids), np.int16)
        for part in _parts(len(ids)):
            reach = self.tables.reach[sorting.ids[part]]
            values = entries[part] - reach
            escaped = entries[part] == 2 * reach + 1
            if count := int(np.count_nonzero(escaped)):
                raw = self.coder.decode(_ESCAPED, count)
                magnitude = (raw >> 1) + reach[escaped] + 1
                if (magnitude >= SYMBOL_LIMIT).any():
                    raise Corrupt("an entropy-coded value is out of range")
                values[escaped] = np.where(raw & 1, -magnitude, magnitude)
            ordered[part] = values
        symbols = np.empty(len(ids), np.int16)
        for part, order, places in sorting:
            symbols[part][order] = ordered[places]
        return symbols

    def finish(self) -> None:
        """Raises Corrupt unless every coded bit has been used and the coder is back in its initial state."""
        if not self.coder.is_empty():
            raise Corrupt("the entropy-coded part does not end where it should")
