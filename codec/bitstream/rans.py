"""rANS over frozen integer tables: integer symbols <-> bytes.

Invariant: a decoder that pops the same table ids in the same order gets the same symbols, and ends
with an empty coder. `constriction` (Rust, memory-safe) does the coding. The symbols of one table
are coded together, so that there is no Python loop per symbol.

::

    symbols, ids -> sorted by table id (stable) -> entries, escapes -> one ANS stack -> bytes
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
PRECISION = 16  # bits of a probability
TOTAL = 1 << PRECISION  # sum of a table's frequencies
ESCAPE_BITS = 15  # bits of an escaped magnitude; one more bit holds the sign
SYMBOL_LIMIT = 1 << ESCAPE_BITS  # a symbol's magnitude is smaller
TABLE_LIMIT = 256  # ids are bytes
PART = 1 << 22  # symbols sorted at a time, so that the memory for it does not grow with the picture

_Categorical = constriction.stream.model.Categorical
_ESCAPED = constriction.stream.model.Uniform(2 << ESCAPE_BITS)


class Tables:
    """Frozen frequency tables.

    Table t covers -L..L (L = reach[t]) and, as its last entry, the escape. The entries of a table
    sum to 2^16.

    Args:
        frequencies: all tables in a row, integers >= 1.
        lengths: entries of each table, even, at least 4.

    Attributes:
        starts: int64 [tables], the index of each table's first entry.
        reach: int32 [tables], the largest magnitude that each table codes without an escape.

    Raises:
        BadArgument: the lengths do not match the entries, or a table does not sum to 2^16.
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
        """Number of tables."""
        return len(self.lengths)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle without the coder's models, which cannot be pickled."""
        return Tables, (self.frequencies, self.lengths)

    @cached_property
    def models(self) -> list[object]:
        """The models of `constriction`, one per table.

        Probabilities are multiples of 2^-16, which float32 holds exactly.
        """
        parts = np.split(self.frequencies.astype(np.float32) / np.float32(TOTAL), self.starts[1:])
        return [_Categorical(p, perfect=False) for p in parts]

    @cached_property
    def costs(self) -> NDArray[np.float32]:
        """Bits of every entry, in the order of `frequencies`, with an escape's 16 raw bits."""
        bits = (PRECISION - np.log2(self.frequencies)).astype(np.float32)
        bits[self.starts + self.lengths - 1] += ESCAPE_BITS + 1
        return bits

    def bits(self, symbols: Ints, ids: Ints) -> NDArray[np.float32]:
        """Compute what symbols cost.

        Args:
            symbols: any shape.
            ids: their tables, of the same shape.

        Returns:
            Bits, of the same shape.
        """
        reach = self.reach[ids]
        inside = np.abs(symbols) <= reach
        entry = np.where(inside, symbols + reach, 2 * reach + 1)
        return self.costs[self.starts[ids] + entry]

    @cached_property
    def _savings(self) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Bits that one step towards zero saves, for values -(L + 2)..L + 2 of each table.

        Returns:
            zero: int64 [tables], the index of each table's value 0.
            savings: float32, all tables in a row.
        """
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
        """The largest value that `saved` can return, in bits."""
        return np.float32(self._savings[1].max())

    def saved(self, symbols: Ints, ids: Ints) -> NDArray[np.float32]:
        """Compute the bits that RDOQ saves by moving symbols one step closer to zero.

        Args:
            symbols: [n].
            ids: their tables, [n].

        Returns:
            Bits [n]; 0 for symbols that are 0.
        """
        zero, savings = self._savings
        far = self.reach[ids] + 2
        clipped = np.minimum(np.maximum(symbols, -far), far)  # np.clip takes four times as long
        return savings[zero[ids] + clipped]


def _parts(count: int) -> Iterator[slice]:
    """Divide 0..count into parts of at most PART."""
    for start in range(0, count, PART):
        yield slice(start, min(start + PART, count))


class _Sorting:
    """The stable order of symbols by table, computed a part at a time.

    Args:
        ids: uint8 [n], the table of each symbol.

    Attributes:
        ids: the sorted ids.
        runs: (table, slice of the sorted symbols that it codes), by table.
    """

    def __init__(self, ids: Ints) -> None:
        self.unsorted = ids
        counts = sum(
            (np.bincount(ids[part], minlength=TABLE_LIMIT) for part in _parts(len(ids))),
            np.zeros(TABLE_LIMIT, np.int64),
        )
        stops = np.cumsum(counts)
        self.starts = stops - counts
        self.ids = np.repeat(np.arange(TABLE_LIMIT, dtype=np.uint8), counts)
        self.runs = [
            (int(table), slice(int(self.starts[table]), int(stops[table])))
            for table in np.flatnonzero(counts)
        ]

    def __iter__(self) -> Iterator[tuple[slice, Ints, Ints | slice]]:
        """Yield the order a part at a time.

        Yields:
            part: which symbols.
            order: indexes that sort the part by table.
            places: the positions of the sorted part among all sorted symbols.
        """
        if len(self.unsorted) <= PART:
            yield slice(None), np.argsort(self.unsorted, kind="stable"), slice(None)
            return
        cursor = self.starts.copy()
        for part in _parts(len(self.unsorted)):
            ids = self.unsorted[part]
            counts = np.bincount(ids, minlength=TABLE_LIMIT)
            first = cursor - (np.cumsum(counts) - counts)
            places = np.arange(len(ids)) + np.repeat(first, counts)
            cursor += counts
            yield part, np.argsort(ids, kind="stable"), places


class Encoder:
    """Collect blocks of symbols in decoding order and code them.

    Args:
        tables: the entropy tables.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.blocks: list[tuple[Ints, Ints]] = []

    def push(self, symbols: Ints, ids: Ints) -> None:
        """Append a block.

        Args:
            symbols: [n], of magnitude below 2^15.
            ids: uint8 [n], their tables.

        Raises:
            BadArgument: a symbol is too large.
        """
        if len(symbols) and int(np.abs(symbols).max()) >= SYMBOL_LIMIT:
            raise BadArgument("a symbol is too large to be coded")
        self.blocks.append((symbols, ids))

    def finish(self) -> bytes:
        """Code all blocks, the last one first because ANS is a stack.

        Returns:
            32-bit little-endian words; empty if no block holds a symbol.
        """
        coder = constriction.stream.stack.AnsCoder()
        for symbols, ids in reversed(self.blocks):
            self._code_block(coder, symbols, ids)
        return coder.get_compressed().astype("<u4").tobytes()

    def _code_block(self, coder: object, symbols: Ints, ids: Ints) -> None:
        sorting = _Sorting(ids)
        entries = np.empty(len(ids), np.int32)
        for part, order, places in sorting:
            entries[places] = symbols[part][order]
        for raw in reversed(self._to_entries(entries, sorting)):
            coder.encode_reverse(raw, _ESCAPED)  # type: ignore[attr-defined]
        for table, run in reversed(sorting.runs):
            coder.encode_reverse(entries[run], self.tables.models[table])  # type: ignore[attr-defined]

    def _to_entries(self, symbols: NDArray[np.int32], sorting: _Sorting) -> list[Ints]:
        """Turn sorted symbols into table entries, in place; return the escaped values by part."""
        escapes: list[Ints] = []
        for part in _parts(len(symbols)):
            reach = self.tables.reach[sorting.ids[part]]
            values = symbols[part]
            values += reach
            # As unsigned integers, entries below 0 are larger than any table, too.
            escaped = np.flatnonzero(values.view(np.uint32) > 2 * reach)
            if len(escaped):
                reach = reach[escaped]
                excess = values[escaped] - reach
                values[escaped] = 2 * reach + 1
                raw = 2 * (np.abs(excess) - reach - 1) + (excess < 0)
                escapes.append(raw.astype(np.int32))
        return escapes


class Decoder:
    """Pop blocks of symbols in the order in which they were pushed.

    Any bytes yield symbols; only `finish` shows whether they were the right ones.

    Args:
        tables: the entropy tables.
        data: what Encoder.finish returned.

    Raises:
        Corrupt: no encoder writes such bytes.
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
        """Decode a block.

        Args:
            ids: uint8 [n], the tables of the block's symbols.

        Returns:
            The symbols [n].

        Raises:
            Corrupt: an escaped symbol is out of range.
        """
        sorting = _Sorting(ids)
        entries = np.empty(len(ids), np.uint16)
        for table, run in sorting.runs:
            entries[run] = self.coder.decode(self.tables.models[table], run.stop - run.start)
        ordered = self._to_symbols(entries, sorting)
        symbols = np.empty(len(ids), np.int16)
        for part, order, places in sorting:
            symbols[part][order] = ordered[places]
        return symbols

    def _to_symbols(self, entries: NDArray[np.uint16], sorting: _Sorting) -> NDArray[np.int16]:
        """Turn sorted table entries into symbols; decodes the escaped values."""
        symbols = np.empty(len(entries), np.int16)
        for part in _parts(len(entries)):
            reach = self.tables.reach[sorting.ids[part]]
            values = entries[part] - reach
            escaped = entries[part] == 2 * reach + 1
            if count := int(np.count_nonzero(escaped)):
                raw = self.coder.decode(_ESCAPED, count)
                magnitude = (raw >> 1) + reach[escaped] + 1
                if (magnitude >= SYMBOL_LIMIT).any():
                    raise Corrupt("an entropy-coded value is out of range")
                values[escaped] = np.where(raw & 1, -magnitude, magnitude)
            symbols[part] = values
        return symbols

    def finish(self) -> None:
        """Check that the stack is empty.

        Raises:
            Corrupt: coded bits are left, or the coder is not back in its initial state.
        """
        if not self.coder.is_empty():
            raise Corrupt("the entropy-coded part does not end where it should")
