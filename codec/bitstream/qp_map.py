"""The QP map: from importance to a QP per place, and its compact coding.

::

    importance --levels--> offsets (QPs) --compact--> cells --rate_neutral--> QP map
    QP map --split_map--> base QP, offsets --encode_offsets--> bytes

A map may have any grid up to the latent grid (for example 8x8 cells). Encoder and decoder
expand it to the latent grid by nearest cell. It is coded as offsets around the base QP, in units of
their greatest common divisor, with the best of four linear predictors (the decoder undoes each by
cumulative sums) and the best of six fixed tables.
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

REACH = 15  # largest residual that a table codes without an escape
WIDEST = 4 * QP_MAX  # the widest residual: four offsets of up to QP_MAX, added and subtracted
PREDICTORS = ((), (1,), (0,), (0, 1))  # axes of the differences: none, left, above, both
# Ratio (numerator, denominator) of neighbouring weights of the six two-sided geometric tables.
DECAYS = ((1, 64), (1, 10), (1, 4), (9, 20), (13, 20), (17, 20))

# How importance becomes offsets, measured on training photos (docs/guidance.md). One QP changes the
# quantization step by 0.057 nats.
STRENGTH = 0.5  # the strength at which the following numbers apply
ZSCORE_QPS = 3.5  # QPs per standard deviation
Z_CLIP = 2.0  # standard deviations
PAPER_CELLS = 8  # rows and columns of the paper's map
PAPER_THRESHOLD = 0.75  # standard deviations that separate the paper's three levels
# QPs between the paper's levels. Not a whole number: when the map is shifted by fractions of a QP,
# the three levels are rounded at different shifts, which controls the file's size more finely.
PAPER_QPS = 3.3
VALUE_QPS = 1.3  # QPs per deviation of log importance
# QPs per deviation of log bits. 3 would save 0.3 % more at equal last tokens, but changes the size
# of a Kodak file by up to 4.8 % instead of 2.8 % (docs/guidance.md, "What it wins").
COST_QPS = 2.0
LEAST_SPREAD = 0.25  # nats; a smaller deviation of log values counts as this one
MISPLACED = 0.0025  # share of the rate that a random error of one squared QP costs
POOLS = (1, 2, 3, 4, 6, 8)  # latent positions per cell that `compact` tries, along a side
UNITS = (1, 2, 4)  # QPs per unit that `compact` tries
HEADER_BITS = 64  # of a coded map, in `compact`
# How `rate_neutral` shifts a map to its budget.
TRIALS = 10  # at most
CLOSE = 0.002  # nats of the rate; near enough to stop
LOG_BITS_PER_QP = 0.045  # nats of the rate that one QP changes, approximately

IntField = NDArray[np.int64]
FloatField = NDArray[np.floating[Any]]


@lru_cache(maxsize=1)
def _tables() -> Tables:
    """Two-sided geometric tables, computed in integers so that every machine gets the same."""
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
    """Bits of every possible residual by table, [tables, 2 * WIDEST + 1]."""
    values = np.arange(-WIDEST, WIDEST + 1)
    return np.stack(
        [_tables().bits(values, np.full(values.size, table)) for table in range(len(DECAYS))]
    )


def _best_coding(offsets: IntField) -> tuple[float, int, int, int]:
    """Return (bits, unit, predictor, table) of the cheapest coding."""
    unit = max(1, int(np.gcd.reduce(offsets, axis=None)))
    counts = [
        np.bincount((_differences(offsets // unit, a) + WIDEST).ravel(), minlength=2 * WIDEST + 1)
        for a in PREDICTORS
    ]
    bits = np.stack(counts) @ _costs().T
    predictor, table = np.unravel_index(int(bits.argmin()), bits.shape)
    return float(bits.min()), unit, int(predictor), int(table)


def encode_offsets(offsets: IntField) -> bytes:
    """Code a map's offsets.

    Args:
        offsets: [rows, cols], -63..63, at least one cell.

    Returns:
        The section's bytes (docs/format.md, "QP map").
    """
    _, unit, predictor, table = _best_coding(offsets)
    encoder = Encoder(_tables())
    residual = _differences(offsets // unit, PREDICTORS[predictor]).ravel()
    encoder.push(residual, np.full(offsets.size, table, np.uint8))
    rows, cols = offsets.shape
    head = put_varint(rows) + put_varint(cols) + bytes([predictor << 4 | table, unit])
    return head + encoder.finish()


def decode_offsets(data: bytes, max_rows: int, max_cols: int) -> IntField:
    """Decode a map's offsets.

    Args:
        data: the section's bytes.
        max_rows: rows of the picture's latent grid.
        max_cols: columns of the picture's latent grid.

    Returns:
        [rows, cols], -63..63.

    Raises:
        Corrupt: the section is malformed, its grid is finer than the latent grid, or an offset is
            out of range.
    """
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
    """Expand a map to another grid by nearest cell.

    Args:
        field: [r, c].
        rows: rows of the result.
        cols: columns of the result.

    Returns:
        [rows, cols]; row i takes cell i * r // rows.
    """
    r, c = field.shape
    return field[(np.arange(rows) * r // rows)[:, None], (np.arange(cols) * c // cols)[None, :]]


def check_map(qp_map: NDArray[np.generic], rows: int, cols: int) -> IntField:
    """Check a user's QP map.

    Args:
        qp_map: numbers 0..63, two-dimensional.
        rows: rows of the picture's latent grid.
        cols: columns of the picture's latent grid.

    Returns:
        The map, rounded to integers.

    Raises:
        BadArgument: a value is out of range, or the map is finer than the latent grid.
    """
    values = np.asarray(qp_map)
    if values.ndim != 2 or values.size == 0 or not np.issubdtype(values.dtype, np.number):
        raise BadArgument("qp_map must be a two-dimensional array of numbers")
    rounded = np.rint(values.astype(np.float64))
    if not (np.isfinite(rounded).all() and rounded.min() >= 0 and rounded.max() <= QP_MAX):
        raise BadArgument("qp_map must hold QPs from 0 to 63")
    if values.shape[0] > rows or values.shape[1] > cols:
        raise BadArgument(
            f"qp_map is {values.shape[0]}x{values.shape[1]}, "
            f"finer than this picture's latent grid of {rows}x{cols}"
        )
    return rounded.astype(np.int64)


def split_map(qp_map: IntField) -> tuple[int, IntField]:
    """Split a map into its base QP and offsets.

    Args:
        qp_map: [rows, cols], 0..63.

    Returns:
        base: the map's median, rounded down.
        offsets: [rows, cols], the map minus the base.
    """
    base = int(np.median(qp_map))
    return base, qp_map - base


def qp_field(base: int, offsets: IntField | None, rows: int, cols: int) -> int | IntField:
    """Compute the QPs that the networks take.

    Args:
        base: base QP 0..63.
        offsets: a map's offsets; None for one QP everywhere.
        rows: rows of the latent grid.
        cols: columns of the latent grid.

    Returns:
        The base without a map; otherwise QPs [rows, cols], clipped to 0..63.
    """
    if offsets is None:
        return base
    return np.clip(expand(offsets, rows, cols) + base, 0, QP_MAX)


def _standard_scores(values: FloatField, least: float = 0.0) -> FloatField:
    """Return standard scores, clipped to +-Z_CLIP; least: the smallest deviation to divide by."""
    deviation = max(float(values.std()), least, 1e-12)
    return np.clip((values - values.mean()) / deviation, -Z_CLIP, Z_CLIP)


def levels(
    importance: FloatField, rule: str, strength: float = STRENGTH, bits: FloatField | None = None
) -> FloatField:
    """Convert importance to offsets.

    Rules:
        zscore: 3.5 QPs per standard deviation.
        paper: mu +- 0.75 sigma separate three levels (less, keep, more), as in arXiv 2509.24258;
            meant for 8x8 cells.
        value: importance relative to cost: 1.3 QPs per deviation of log importance, minus 2 QPs
            per deviation of log bits.
        cost: minus 2 QPs per deviation of log bits, whatever the importance.

    Args:
        importance: [rows, cols], >= 0.
        rule: zscore, paper, value or cost.
        strength: 0..1; the rules' numbers apply at 0.5, other strengths scale them.
        bits: [rows, cols], what each place costs; only for the rules `value` and `cost`.

    Returns:
        Offsets in QPs around the base, [rows, cols], not rounded. Zeros for a constant map.
    """
    values = np.asarray(importance, np.float64)
    if rule == "cost":
        assert bits is not None
        return _cost(bits) * (strength / STRENGTH)
    if values.std() <= 1e-6 * max(float(values.max()), 1e-30):
        return np.zeros(values.shape)
    offsets: FloatField
    if rule == "paper":
        z = _standard_scores(values)
        offsets = np.where(
            z > PAPER_THRESHOLD, PAPER_QPS, np.where(z < -PAPER_THRESHOLD, -PAPER_QPS, 0.0)
        )
    elif rule == "value":
        assert bits is not None
        log_importance = np.log(np.maximum(values, values.max() * 1e-3))
        offsets = VALUE_QPS * _standard_scores(log_importance, LEAST_SPREAD)
        offsets = offsets + _cost(bits)
    else:
        offsets = ZSCORE_QPS * _standard_scores(values)
    return offsets * (strength / STRENGTH)


def _cost(bits: FloatField) -> FloatField:
    """Return offsets by the bits of each place: coarser steps where many bits are spent."""
    return -COST_QPS * _standard_scores(np.log(1 + bits), LEAST_SPREAD)


def compact(offsets: FloatField, bits: float) -> tuple[FloatField, int]:
    """Choose the grid and the unit of a map that cost least.

    The cost is the bits of the map plus the rate lost by misplaced steps, both as a share of the
    file.

    Args:
        offsets: [rows, cols] on the latent grid, in QPs.
        bits: bits of the file without the map.

    Returns:
        cells: offsets on the chosen grid, not rounded.
        unit: the unit in QPs to round them to.
    """
    best: tuple[float, FloatField, int] | None = None
    for pool in POOLS:
        cells = _pooled(offsets, pool)
        for unit in UNITS:
            rounded = unit * np.rint(cells / unit).astype(np.int64)
            error = np.square(expand(rounded, *offsets.shape) - offsets).mean()
            lost = MISPLACED * float(error)
            # Coding takes most of the time, and no map is smaller than its header.
            if best is not None and lost + HEADER_BITS / max(bits, 1.0) >= best[0]:
                continue
            map_bits = _best_coding(rounded)[0] + HEADER_BITS
            cost = lost + map_bits / max(bits, 1.0)
            if best is None or cost < best[0]:
                best = (cost, cells, unit)
        if cells.size == 1:
            break
    assert best is not None
    return best[1], best[2]


def _pooled(offsets: FloatField, pool: int) -> FloatField:
    """Average over the places that `expand` assigns to each cell of pool x pool positions."""
    rows, cols = (-(-side // pool) for side in offsets.shape)
    of_row, of_col = (
        np.arange(side) * cells // side for side, cells in zip(offsets.shape, (rows, cols))
    )
    row_starts = np.searchsorted(of_row, np.arange(rows))
    col_starts = np.searchsorted(of_col, np.arange(cols))
    sums = np.add.reduceat(np.add.reduceat(offsets, row_starts, axis=0), col_starts, axis=1)
    return sums / np.outer(np.bincount(of_row, minlength=rows), np.bincount(of_col, minlength=cols))


def rate_neutral(
    offsets: FloatField,
    unit: int,
    qp: int,
    grid: tuple[int, int],
    bits: Callable[[FloatField], float],
    budget: float,
) -> IntField:
    """Shift a map as a whole until the picture costs its budget.

    Shifts may be fractions of a QP: they decide how offsets are rounded.

    Args:
        offsets: [rows, cols], in QPs, not rounded.
        unit: QPs that offsets are rounded to multiples of.
        qp: the QP around which the map starts.
        grid: (rows, columns) of the latent grid.
        bits: estimates a picture's bits from a QP field on the latent grid.
        budget: the bits to meet.

    Returns:
        The QP map [rows, cols], clipped to 0..63.
    """
    offsets = offsets - offsets.mean()

    def shifted(shift: float) -> IntField:
        whole = int(np.floor(shift))
        rounded = unit * np.rint((offsets + (shift - whole)) / unit).astype(np.int64)
        return np.clip(qp + whole + rounded, 0, QP_MAX)

    def log_excess(shift: float) -> float:
        field = expand(shifted(shift), *grid).astype(np.float64)
        return float(np.log(bits(field) / max(budget, 1.0)))

    high = float(np.abs(offsets).max()) + unit + 4
    low = -high
    shift = 0.0
    best = np.inf, shift
    for _ in range(TRIALS):
        excess = log_excess(shift)
        best = min(best, (abs(excess), shift))
        if best[0] < CLOSE:
            break
        if excess > 0:
            high = shift
        else:
            low = shift
        shift -= excess / LOG_BITS_PER_QP
        if not low < shift < high:
            shift = (low + high) / 2
    return shifted(best[1])
