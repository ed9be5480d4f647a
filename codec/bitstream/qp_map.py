"""The step field: from importance to which QP holds at which place, and its compact coding as a map of offsets around the base QP.

    importance --levels--> offsets (QPs) --compact--> cells --rate_neutral--> QP map --split_map--> base, offsets --> bytes

A map has its own grid (8x8 cells, say, or one cell per latent position); both sides expand it to the latent grid by nearest cell.
Coding: offsets in units of their greatest common divisor, the best of four linear predictors (each undone by cumulative
sums) and the best of six fixed tables.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import Reader, put_varint
from codec.bitstream.rans import TOTAL, Decoder, Encoder, Tables
from codec.errors import BadArgument, Corrupt, Truncated
from codec.networks.config import QP_MAX

REACH = 15
# The widest residual: four offsets of up to 63 are added and subtracted.
WIDEST = 4 * QP_MAX
PREDICTORS = ((), (1,), (0,), (0, 1))
DECAYS = ((1, 64), (1, 10), (1, 4), (9, 20), (13, 20), (17, 20))

# How importance is read; a QP is 0.057 nats of the step. Measured on training photos (docs/guidance.md).
STRENGTH = 0.5
ZSCORE_QPS = 3.5
Z_CLIP = 2.0
# Not a whole number, so that the three levels are not rounded up together when the map is shifted: finer control of the size.
PAPER_CELLS = 8
PAPER_THRESHOLD = 0.75
PAPER_QPS = 3.3
VALUE_QPS = 1.3
COST_QPS = 2.0
LEAST_SPREAD = 0.25
# A random error of one squared QP costs about this share of the rate.
MISPLACED = 0.0025
POOLS = (1, 2, 3, 4, 6, 8)
UNITS = (1, 2, 4)
# How a map is shifted to its budget: trials at most, what is near enough, and what a QP changes about.
TRIALS = 10
CLOSE = 0.002
LOG_BITS_PER_QP = 0.045

IntField = NDArray[np.int64]
FloatField = NDArray[np.floating[Any]]


@lru_cache(maxsize=1)
def _tables() -> Tables:
    """Two-sided geometric tables, computed in integers so that they are the same everywhere."""
    rows = []
    for numerator, denominator in DECAYS:
        weights = [
            (1 << 40) * numerator ** abs(v) // denominator ** abs(v)
            for v in range(-REACH, REACH + 1)
        ]
        weights.append(weights[0])
        room = TOTAL - len(weights)
        row = [1 + w * room // sum(weights) for w in weights]
        row[REACH] += TOTAL - sum(row)
        rows.append(row)
    return Tables(np.concatenate(rows), np.full(len(rows), 2 * REACH + 2))


def _differences(offsets: IntField, axes: tuple[int, ...]) -> IntField:
    for axis in axes:
        before = offsets
        offsets = before.copy()
        if axis == 0:
            offsets[1:] -= before[:-1]
        else:
            offsets[:, 1:] -= before[:, :-1]
    return offsets


@lru_cache(maxsize=1)
def _costs() -> FloatField:
    """Bits of every residual there can be, by table: [tables, 2 * WIDEST + 1]."""
    values = np.arange(-WIDEST, WIDEST + 1)
    return np.stack(
        [_tables().bits(values, np.full(values.size, table)) for table in range(len(DECAYS))]
    )


def _best_coding(offsets: IntField) -> tuple[float, int, int, int]:
    """(bits, unit, predictor, table) of the cheapest way."""
    unit = max(1, int(np.gcd.reduce(offsets, axis=None)))
    counts = [
        np.bincount((_differences(offsets // unit, a) + WIDEST).ravel(), minlength=2 * WIDEST + 1)
        for a in PREDICTORS
    ]
    bits = np.stack(counts) @ _costs().T
    predictor, table = np.unravel_index(int(bits.argmin()), bits.shape)
    return float(bits.min()), unit, int(predictor), int(table)


def encode_offsets(offsets: IntField) -> bytes:
    """offsets: [rows, cols], -63..63, at least one cell."""
    _, unit, predictor, table = _best_coding(offsets)
    encoder = Encoder(_tables())
    residual = _differences(offsets // unit, PREDICTORS[predictor]).ravel()
    encoder.push(residual, np.full(offsets.size, table, np.uint8))
    rows, cols = offsets.shape
    return (
        put_varint(rows)
        + put_varint(cols)
        + bytes([predictor << 4 | table, unit])
        + encoder.finish()
    )


def decode_offsets(data: bytes, max_rows: int, max_cols: int) -> IntField:
    """The inverse. A grid finer than max_rows x max_cols, or an offset out of range, raises Corrupt."""
    reader = Reader(data)
    try:
        rows = reader.varint()
        cols = reader.varint()
        code = reader.byte()
        unit = reader.byte()
    except Truncated:
        raise Corrupt("the QP map is longer than the space it is in") from None
    predictor = code >> 4
    table = code & 15
    if not (1 <= rows <= max_rows and 1 <= cols <= max_cols):
        raise Corrupt("the QP map is larger than the picture's grid")
    if predictor >= len(PREDICTORS) or table >= len(DECAYS) or unit == 0:
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
        raise BadArgument(
            f"qp_map is {values.shape[0]}x{values.shape[1]}, finer than this picture's latent grid of {rows}x{cols}"
        )
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


def _z(values: FloatField, least: float = 0.0) -> FloatField:
    """Standard scores clipped at two; `least`: the smallest deviation believed."""
    deviation = max(float(values.std()), least, 1e-12)
    return np.clip((values - values.mean()) / deviation, -Z_CLIP, Z_CLIP)


def levels(
    importance: FloatField, rule: str, strength: float = STRENGTH, bits: FloatField | None = None
) -> FloatField:
    """Importance [rows, cols], >= 0, as offsets in QPs around the base (not rounded), times strength / 0.5.

    rule `zscore`: 3.5 QPs per standard deviation. `paper`: mu +- 0.75 sigma part three levels (less, keep, more), as in
    arXiv 2509.24258; give it 8x8 cells. `value`: importance against what it costs, 1.3 QPs per deviation of log importance minus
    2 per deviation of log bits, given as `bits` [rows, cols]. A map that is the same everywhere says nothing and gives zeros.
    """
    values = np.asarray(importance, np.float64)
    if values.std() <= 1e-6 * max(float(values.max()), 1e-30):
        return np.zeros(values.shape)
    offsets: FloatField
    if rule == "paper":
        z = _z(values)
        offsets = np.where(
            z > PAPER_THRESHOLD, PAPER_QPS, np.where(z < -PAPER_THRESHOLD, -PAPER_QPS, 0.0)
        )
    elif rule == "value":
        assert bits is not None
        offsets = VALUE_QPS * _z(np.log(np.maximum(values, values.max() * 1e-3)), LEAST_SPREAD)
        offsets = offsets - COST_QPS * _z(np.log(1 + bits), LEAST_SPREAD)
    else:
        offsets = ZSCORE_QPS * _z(values)
    return offsets * (strength / STRENGTH)


def compact(offsets: FloatField, bits: float) -> tuple[FloatField, int]:
    """(offsets on coarser cells, their unit in QPs): what costs least, map bits and misplaced steps together.

    offsets: [rows, cols] on the latent grid; bits: what the file will have.
    """
    best: tuple[float, FloatField, int] | None = None
    for pool in POOLS:
        cells = _pooled(offsets, pool)
        for unit in UNITS:
            rounded = unit * np.rint(cells / unit).astype(np.int64)
            missed = np.square(expand(rounded, *offsets.shape) - offsets).mean()
            cost = MISPLACED * float(missed) + (_best_coding(rounded)[0] + 64) / max(bits, 1.0)
            if best is None or cost < best[0]:
                best = (cost, cells, unit)
        if cells.size == 1:
            break
    assert best is not None
    return best[1], best[2]


def _pooled(offsets: FloatField, pool: int) -> FloatField:
    """Means over the places that `expand` will give to each cell."""
    rows, cols = (-(-side // pool) for side in offsets.shape)
    of_row, of_col = (
        np.arange(side) * cells // side for side, cells in zip(offsets.shape, (rows, cols))
    )
    starts = np.searchsorted(of_row, np.arange(rows)), np.searchsorted(of_col, np.arange(cols))
    sums = np.add.reduceat(np.add.reduceat(offsets, starts[0], axis=0), starts[1], axis=1)
    return sums / np.outer(np.bincount(of_row, minlength=rows), np.bincount(of_col, minlength=cols))


def rate_neutral(
    offsets: FloatField,
    unit: int,
    qp: int,
    grid: tuple[int, int],
    bits: Callable[[FloatField], float],
    budget: float,
) -> IntField:
    """A QP map [rows, cols] of these offsets, in steps of `unit`, whose `bits` (of a QP field on the latent grid) meet the budget.

    The map is shifted as a whole, by fractions of a QP too: they decide how offsets are rounded. QPs are clipped to 0..63.
    """

    offsets = offsets - offsets.mean()

    def shifted(shift: float) -> IntField:
        whole = int(np.floor(shift))
        rounded = unit * np.rint((offsets + (shift - whole)) / unit).astype(np.int64)
        return np.clip(qp + whole + rounded, 0, QP_MAX)

    high = float(np.abs(offsets).max()) + unit + 4
    low = -high
    shift = 0.0
    best = np.inf, shift
    for _ in range(TRIALS):
        missed = float(
            np.log(bits(expand(shifted(shift), *grid).astype(np.float64)) / max(budget, 1.0))
        )
        best = min(best, (abs(missed), shift))
        if best[0] < CLOSE:
            break
        low, high = (low, shift) if missed > 0 else (shift, high)
        shift -= missed / LOG_BITS_PER_QP
        if not low < shift < high:
            shift = (low + high) / 2
    return shifted(best[1])
