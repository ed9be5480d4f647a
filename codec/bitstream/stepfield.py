"""The step field: which QP holds at which place, and its compact coding as a map of offsets around the base QP.

A map has its own grid (8x8 cells, say, or one cell per latent position); both sides expand it to the latent grid by nearest cell.
Coding: offsets in units of their greatest common divisor, the best of four linear predictors (each undone by cumulative
sums) and the best of six fixed tables.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import Reader, put_varint
from codec.bitstream.rans import TOTAL, Decoder, Encoder, Tables
from codec.errors import BadArgument, Corrupt

QP_MAX = 63
REACH = 15
PREDICTORS = ((), (1,), (0,), (0, 1))
DECAYS = ((1, 64), (1, 10), (1, 4), (9, 20), (13, 20), (17, 20))

IntField = NDArray[np.int64]


@lru_cache(maxsize=1)
def _tables() -> Tables:
    """Two-sided geometric tables, computed in integers so that they are the same everywhere."""
    rows = []
    for numerator, denominator in DECAYS:
        weights = [(1 << 40) * numerator ** abs(v) // denominator ** abs(v) for v in range(-REACH, REACH + 1)]
        weights.append(weights[0])
        room = TOTAL - len(weights)
        row = [1 + w * room // sum(weights) for w in weights]
        row[REACH] += TOTAL - sum(row)
        rows.append(row)
    return Tables(np.concatenate(rows), np.full(len(rows), 2 * REACH + 2))


def _differences(offsets: IntField, axes: tuple[int, ...]) -> IntField:
    for axis in axes:
        offsets = np.diff(offsets, axis=axis, prepend=0)
    return offsets


def encode_offsets(offsets: IntField) -> bytes:
    """offsets: [rows, cols], -63..63, at least one cell."""
    tables = _tables()
    unit = max(1, int(np.gcd.reduce(offsets, axis=None)))
    offsets = offsets // unit
    best: tuple[float, int, int] | None = None
    for predictor, axes in enumerate(PREDICTORS):
        residual = _differences(offsets, axes).ravel()
        for table in range(len(DECAYS)):
            cost = float(tables.bits(residual, np.full(residual.size, table)).sum())
            if best is None or cost < best[0]:
                best = (cost, predictor, table)
    assert best is not None
    _, predictor, table = best
    encoder = Encoder(tables)
    encoder.push(_differences(offsets, PREDICTORS[predictor]).ravel(), np.full(offsets.size, table, np.uint8))
    rows, cols = offsets.shape
    return put_varint(rows) + put_varint(cols) + bytes([predictor << 4 | table, unit]) + encoder.finish()


def decode_offsets(data: bytes, max_rows: int, max_cols: int) -> IntField:
    """The inverse. A grid finer than max_rows x max_cols, or an offset out of range, raises Corrupt."""
    reader = Reader(data)
    rows, cols, code, unit = reader.varint(), reader.varint(), reader.byte(), reader.byte()
    predictor, table = code >> 4, code & 15
    if not (1 <= rows <= max_rows and 1 <= cols <= max_cols):
        raise Corrupt("the QP map is larger than the picture's grid")
    if predictor >= len(PREDICTORS) or table >= len(DECAYS):
        raise Corrupt("the QP map is coded in an unknown way")
    decoder = Decoder(_tables(), data[reader.at :])
    values = decoder.pop(np.full(rows * cols, table, np.uint8)).astype(np.int64).reshape(rows, cols)
    decoder.finish()
    for axis in PREDICTORS[predictor]:
        values = np.cumsum(values, axis=axis)
    values *= unit
    if np.abs(values).max() > QP_MAX:
        raise Corrupt("the QP map holds impossible values")
    return values


def expand(field: IntField, rows: int, cols: int) -> IntField:
    """Nearest cell: [r, c] -> [rows, cols]."""
    r, c = field.shape
    return field[(np.arange(rows) * r // rows)[:, None], (np.arange(cols) * c // cols)[None, :]]


def check_map(qp_map: NDArray[np.generic], rows: int, cols: int) -> IntField:
    """A user's map as integers on a grid no finer than the latent one. Raises BadArgument for a wrong shape or value."""
    values = np.asarray(qp_map)
    if values.ndim != 2 or values.size == 0 or not np.issubdtype(values.dtype, np.number):
        raise BadArgument("qp_map must be a two-dimensional array of numbers")
    rounded = np.rint(values.astype(np.float64))
    if not (np.isfinite(rounded).all() and rounded.min() >= 0 and rounded.max() <= QP_MAX):
        raise BadArgument("qp_map must hold QPs from 0 to 63")
    if values.shape[0] > rows or values.shape[1] > cols:
        raise BadArgument(f"qp_map is {values.shape[0]}x{values.shape[1]}, finer than this picture's latent grid of {rows}x{cols}")
    return rounded.astype(np.int64)


def split_map(qp_map: IntField) -> tuple[int, IntField]:
    """(base QP, offsets): the base is the map's rounded median."""
    base = int(np.median(qp_map))
    return base, qp_map - base


def qp_field(base: int, offsets: IntField | None, rows: int, cols: int) -> int | IntField:
    """What the networks take: one QP, or a QP per latent position [rows, cols], clipped to 0..63."""
    if offsets is None:
        return base
    return np.clip(expand(offsets, rows, cols) + base, 0, QP_MAX)
