"""What moved between two pictures: scrolled pages by rows and columns, windows by small blocks.

::

    before, after -> hashes of rows in bands of 64 columns -+
                  -> hashes of columns in bands of 64 rows -+-> votes for shifts -> the best box of
                  -> hashes of 8x8 pixels at any place -----+   each: gains minus losses -> copies

A copy need not be right everywhere: the pixels that it gets wrong count as changed and are sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.stream.blocks import SIDE, Blocks, Packed, of_pixels
from codec.tools.changes import Copy
from codec.tools.regions import Box

Words = NDArray[np.uint64]
Shift = tuple[int, int]
# Pixels. Rows are compared in bands of this width, so that a page may scroll beside a fixed menu.
BAND = 64
MOST_COPIES = 6
# Shifts that are tried at each step.
TRIED = 2
LEAST_VOTES = 6
# Pixels. If fewer changed, sending them is cheaper than searching for a copy.
LEAST_CHANGED = 4096
# A copy must put at least this many lively pixels right (blocks.lively); it takes about ten bytes.
LEAST_GAIN = 200
# The most lost and idle pixels for each one gained (see `_placed`). A copied table row that shares
# only some digits with the new one would leave many small pieces to send.
MOST_BAD = 0.15
# Weights of a bad pixel against a gained one. If the best box has too many bad pixels, the larger
# weight finds a smaller box without them, for example between highlighted rows.
WEIGHTS = (1, 8)
# Number of changed blocks, evenly spaced, that are searched for in the picture before.
SAMPLES = 256
# Bits of a hash that are compared first, to exclude most of the picture quickly.
SIFT_BITS = 16


def find(before: Packed, after: Packed, changed: Blocks, lively: NDArray[np.bool_]) -> list[Copy]:
    """Copies that put much of a picture right.

    Args:
        before: packed pixels [H, W] (blocks.packed).
        after: the same shape.
        changed: blocks [ceil(H / 8), ceil(W / 8)] that differ.
        lively: pixels after [H, W] that differ from a neighbour (blocks.lively).

    Returns:
        At most six; none where nothing moved.
    """
    copies: list[Copy] = []
    now = before
    while len(copies) < MOST_COPIES and int(changed.sum()) * SIDE**2 >= LEAST_CHANGED:
        box = _around(changed, after.shape)
        best = _best(_State(before, after, now == after, lively), changed, box)
        if best is None:
            break
        copies.append(best)
        now = now.copy()
        best.box.of(now)[:] = best.source.of(before)
        changed = of_pixels(now != after)
    return copies


def _best(state: _State, changed: Blocks, box: Box) -> Copy | None:
    """The copy that puts most pixels right which are wrong now."""
    shifts = _scrolled(state.before, state.after, box)
    good = [one for one in (_placed(state, shift, box) for shift in shifts) if one is not None]
    if not good:
        shifts = _windows(state.before, state.after, changed, box)
        good = [one for one in (_placed(state, shift, box) for shift in shifts) if one is not None]
    return max(good, key=lambda one: one[0])[1] if good else None


@dataclass(frozen=True)
class _State:
    """Two pictures, and which pixels are right already, and which differ from a neighbour."""

    before: Packed
    after: Packed
    right: NDArray[np.bool_]
    lively: NDArray[np.bool_]


def _around(changed: Blocks, shape: tuple[int, ...]) -> Box:
    """The box of the changed blocks, in pixels."""
    rows = np.flatnonzero(changed.any(1))
    columns = np.flatnonzero(changed.any(0))
    return Box(
        int(columns[0]) * SIDE,
        int(rows[0]) * SIDE,
        min((int(columns[-1]) + 1) * SIDE, shape[1]),
        min((int(rows[-1]) + 1) * SIDE, shape[0]),
    )


def _scrolled(before: Packed, after: Packed, box: Box) -> list[Shift]:
    """Shifts (dx, dy) by whole rows or columns that many bands agree on."""
    one = box.of(before)
    other = box.of(after)
    rows = _votes(_bands(one), _bands(other))
    columns = _votes(_bands(one.T), _bands(other.T))
    return [(0, shift) for shift in rows] + [(shift, 0) for shift in columns]


def _bands(pixels: Packed) -> Words:
    """A hash of each row in each band [H, ceil(W / 64)]."""
    height, width = pixels.shape
    count = -(-width // BAND)
    filled = np.zeros((height, BAND * count), np.uint32)
    filled[:, :width] = pixels
    words = filled.view(np.uint64).reshape(height, count, -1)
    factors = _factors(words.shape[2])
    # A number for each band, so that a row is not found in another band.
    return np.einsum("hbw,w->hb", words ^ words >> np.uint64(31), factors) + _factors(count)


def _votes(before: Words, after: Words) -> list[int]:
    """Shifts that most rows agree on; rows that occur twice have no vote."""
    places, values = _once(before)
    others, wanted = _once(after)
    if not len(values) or not len(wanted):
        return []
    at = np.minimum(np.searchsorted(values, wanted), len(values) - 1)
    same = values[at] == wanted
    shifts = places[at[same]] - others[same]
    shifts = shifts[shifts != 0]
    if not len(shifts):
        return []
    found, votes = np.unique(shifts, return_counts=True)
    order = np.argsort(-votes, kind="stable")[:TRIED]
    return [int(found[i]) for i in order if votes[i] >= LEAST_VOTES]


def _once(words: Words) -> tuple[NDArray[np.int64], Words]:
    """Rows and values of the values that occur once, sorted by value."""
    flat = words.ravel()
    order = np.argsort(flat, kind="stable")
    values = flat[order]
    differ = np.ones(len(values) + 1, np.bool_)
    np.not_equal(values[1:], values[:-1], out=differ[1:-1])
    alone = differ[1:] & differ[:-1]
    return order[alone] // words.shape[1], values[alone]


def _windows(before: Packed, after: Packed, changed: Blocks, box: Box) -> list[Shift]:
    """Shifts in both directions that blocks of 8x8 pixels agree on."""
    samples = _samples(after, changed)
    if len(samples) < LEAST_VOTES or min(box.bottom - box.top, box.right - box.left) < SIDE:
        return []
    wanted = _hash_of_blocks(_blocks(after, samples))
    # A moved window also changed the pixels of its old place, so that is inside the box.
    places = _hash_at_all_places(box.of(before))
    table = np.zeros(1 << SIFT_BITS, np.bool_)
    mask = np.uint32((1 << SIFT_BITS) - 1)
    table[wanted & mask] = True
    y, x = np.nonzero(table[places & mask])
    order = np.argsort(wanted, kind="stable")
    found = places[y, x]
    at = np.minimum(np.searchsorted(wanted[order], found), len(wanted) - 1)
    same = wanted[order][at] == found
    block = samples[order[at[same]]]
    shifts = np.stack([box.left + x[same] - block[:, 1], box.top + y[same] - block[:, 0]], 1)
    shifts = shifts[shifts.any(1)]
    if not len(shifts):
        return []
    kinds, votes = np.unique(shifts, axis=0, return_counts=True)
    best = np.argsort(-votes, kind="stable")[:TRIED]
    return [(int(kinds[i, 0]), int(kinds[i, 1])) for i in best if votes[i] >= LEAST_VOTES]


def _samples(after: Packed, changed: Blocks) -> NDArray[np.int64]:
    """Top and left pixels [N, 2] of changed blocks that are not flat."""
    rows, columns = after.shape[0] // SIDE, after.shape[1] // SIDE
    places = _spread(np.argwhere(changed[:rows, :columns]), 4 * SAMPLES) * SIDE
    blocks = _blocks(after, places)
    lively = (blocks != blocks[:, :1]).any((1, 2)) & (blocks != blocks[:, :, :1]).any((1, 2))
    return _spread(places[lively], SAMPLES)


def _spread(places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most `most` places, evenly spaced."""
    if len(places) <= most:
        return places
    return places[np.linspace(0, len(places) - 1, most).astype(np.int64)]


def _blocks(pixels: Packed, places: NDArray[np.int64]) -> Packed:
    """The blocks [N, 8, 8] that begin at places [N, 2]."""
    inside = np.arange(SIDE)
    y = places[:, 0, None, None] + inside[:, None]
    x = places[:, 1, None, None] + inside
    return pixels[y, x]


def _hash_of_blocks(blocks: Packed) -> NDArray[np.uint32]:
    """Hashes of blocks [N, 8, 8], computed as in `_hash_at_all_places`."""
    values = _mixed(blocks)
    total = np.zeros(len(blocks), np.uint32)
    for y in range(SIDE):
        line = np.zeros(len(blocks), np.uint32)
        for x in range(SIDE):
            line += values[:, y, x] * _powers(x, 0)
        total += line * _powers(y, 1)
    return total ^ total >> np.uint32(15)


def _hash_at_all_places(pixels: Packed) -> NDArray[np.uint32]:
    """A hash of the 8x8 pixels that begin at each place [H - 7, W - 7]."""
    values = _mixed(pixels)
    width = values.shape[1] - SIDE + 1
    height = values.shape[0] - SIDE + 1
    lines = np.zeros((values.shape[0], width), np.uint32)
    for x in range(SIDE):
        lines += values[:, x : x + width] * _powers(x, 0)
    total = np.zeros((height, width), np.uint32)
    for y in range(SIDE):
        total += lines[y : y + height] * _powers(y, 1)
    return total ^ total >> np.uint32(15)


def _mixed(pixels: Packed) -> Packed:
    """One number for each pixel, whose bits depend on all of the pixel's."""
    return (pixels ^ pixels >> np.uint32(7)) * np.uint32(0x9E3779B1)


def _powers(at: int, axis: int) -> np.uint32:
    base = (0x85EBCA6B, 0xC2B2AE35)[axis]
    return np.uint32(pow(base, at + 1, 1 << 32))


def _placed(state: _State, shift: Shift, around: Box) -> tuple[int, Copy] | None:
    """The box that a shift is best copied to, and how many pixels it puts right.

    All that is wrong lies in the box around the changed blocks, so the copy does as well.
    """
    dx, dy = shift
    height, width = state.after.shape
    top, bottom = max(around.top, -dy), min(around.bottom, height - dy)
    left, end = max(around.left, -dx), min(around.right, width - dx)
    if top >= bottom or left >= end:
        return None
    target = Box(left, top, end, bottom)
    source = Box(left + dx, top + dy, end + dx, bottom + dy)
    match = source.of(state.before) == target.of(state.after)
    right = target.of(state.right)
    # Lost: right pixels that the copy spoils. Idle: wrong ones that it leaves wrong, which break
    # what it copies into pieces.
    gained = match & ~right & target.of(state.lively)
    lost = right & ~match
    idle = target.of(state.lively) & ~right & ~match
    bad = lost.view(np.int8) + idle.view(np.int8)
    for weight in WEIGHTS:
        _, box = _best_box(gained.view(np.int8) - np.int8(weight) * bad)
        good = int(box.of(gained).sum())
        gain = good - int(box.of(bad).sum(dtype=np.int64))
        if gain >= LEAST_GAIN and good - gain <= MOST_BAD * good:
            placed = Box(left + box.left, top + box.top, left + box.right, top + box.bottom)
            return gain, Copy(placed, dx, dy)
    return None


def _best_box(gains: NDArray[np.int8]) -> tuple[int, Box]:
    """The box of the largest sum, by rows and columns in turn from the best rows on."""
    rows = slice(0, gains.shape[0])
    columns = slice(0, gains.shape[1])
    gain = 0
    for _ in range(3):
        gain, rows = _best_run(gains[:, columns].sum(1, dtype=np.int64))
        gain, columns = _best_run(gains[rows].sum(0, dtype=np.int64))
    return gain, Box(columns.start, rows.start, columns.stop, rows.stop)


def _best_run(sums: NDArray[np.int64]) -> tuple[int, slice]:
    """The run of the largest sum (Kadane's algorithm)."""
    ends = np.concatenate([[0], np.cumsum(sums)])
    lowest = np.minimum.accumulate(ends)[:-1]
    totals = ends[1:] - lowest
    end = int(totals.argmax())
    start = int(ends[: end + 1].argmin())
    return int(totals[end]), slice(start, end + 1)


def _factors(count: int) -> Words:
    """Odd numbers of 64 bits, the same ones at every call."""
    random = np.random.default_rng(2)
    return random.integers(1 << 62, 1 << 63, count, np.uint64) * np.uint64(2) + np.uint64(1)
