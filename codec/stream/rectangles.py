"""From changed blocks to a few rectangles.

::

    blocks, weights -> box around them -> cut where the two boxes that remain weigh least together
                            ^                                      |
                            +----- each part, while a cut pays ----+

A block's weight is about what it costs to send: much for a block with content, next to nothing for
a flat one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from codec.stream.blocks import SIDE, Blocks
from codec.tools.regions import Box

FULL = 1.0
# Weight of a flat block.
FLAT = 0.04
# Weight of a rectangle's own bytes: its box, and the tables of its payload.
LEAST_SAVED = 20.0
# The same where all blocks are light: these become patches, which have no tables but need more
# bytes for each block.
LIGHT = 64.0
LEAST_SAVED_LIGHT = 5.0
MOST = 64
# What remains of a box around a hole.
SIDES = ("above", "left", "right", "below")
# Rows in which a hole is looked for.
ROWS = 8
# Blocks. A larger box cannot be a patch (tools.patch.MOST_PIXELS), so it is cut even where that
# saves little.
PATCHED = 4096 // SIDE**2
LEAST_SAVED_PATCHED = 0.3
Span = tuple[int, int, int, int]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def rectangles(blocks: Blocks, lively: Blocks | None = None, most: int = MOST) -> list[Box]:
    """Boxes in blocks that hold every marked block, without overlap.

    Args:
        blocks: which must be in a box.
        lively: which are not flat; all of them if not given.
        most: number of boxes.

    Returns:
        The boxes, from the top.
    """
    whole = _around(blocks, (0, 0, blocks.shape[0], blocks.shape[1]))
    if whole is None:
        return []
    weights = np.ones(blocks.shape) if lively is None else np.where(lively, FULL, FLAT)
    sums = np.zeros((blocks.shape[0] + 1, blocks.shape[1] + 1), np.float32)
    np.cumsum(np.cumsum(weights, 0), 1, out=sums[1:, 1:])
    done: list[Span] = []
    todo = [whole]
    while todo:
        # The heaviest first, so that the limit leaves the light ones together.
        todo.sort(key=lambda span: float(_weight(sums, *span)))
        span = todo.pop()
        free = most - len(done) - len(todo)
        parts = _cut(blocks, sums, span) if free >= 2 else None
        if parts is None and free >= len(SIDES):
            parts = _around_hole(blocks, sums, span)
        if parts is None:
            done.append(span)
        else:
            todo += parts
    return [Box(left, top, right, bottom) for top, left, bottom, right in sorted(done)]


def in_pixels(box: Box, height: int, width: int) -> Box:
    """A box of blocks in pixels, within the picture."""
    right = min(box.right * SIDE, width)
    return Box(box.left * SIDE, box.top * SIDE, right, min(box.bottom * SIDE, height))


def tight(which: NDArray[np.bool_], box: Box) -> Box | None:
    """The smallest box around the marked pixels [H, W] in a box; None without any."""
    found = _around(which, (box.top, box.left, box.bottom, box.right))
    if found is None:
        return None
    top, left, bottom, right = found
    return Box(left, top, right, bottom)


def _around(marks: NDArray[np.bool_], span: Span) -> Span | None:
    """The smallest span (top, left, bottom, right) around the marks in a span."""
    top, left, bottom, right = span
    inner = marks[top:bottom, left:right]
    rows = np.flatnonzero(inner.any(1))
    if not len(rows):
        return None
    columns = np.flatnonzero(inner.any(0))
    return (
        top + int(rows[0]),
        left + int(columns[0]),
        top + int(rows[-1]) + 1,
        left + int(columns[-1]) + 1,
    )


def _weight(
    sums: Floats, top: Ints | int, left: Ints | int, bottom: Ints | int, right: Ints | int
) -> Floats:
    """Weight of spans, from the weights' sums over everything above and to the left."""
    return sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]


def _cut(blocks: Blocks, sums: Floats, span: Span) -> list[Span] | None:
    """The two parts of the best cut; None where none saves enough."""
    top, left, bottom, right = span
    inner = blocks[top:bottom, left:right]
    within = sums[top : bottom + 1, left : right + 1]
    weight = float(_weight(sums, *span))
    least = LEAST_SAVED if weight > LIGHT else LEAST_SAVED_LIGHT
    if weight <= 2 * LIGHT and inner.size > PATCHED:
        least = LEAST_SAVED_PATCHED
    if weight < least:
        return None
    by_row = _weights(inner, within)
    by_column = _weights(inner.T, within.T)
    row = int(by_row.argmin()) if len(by_row) else -1
    column = int(by_column.argmin()) if len(by_column) else -1
    best_row = float(by_row[row]) if row >= 0 else weight
    best_column = float(by_column[column]) if column >= 0 else weight
    if weight - min(best_row, best_column) < least:
        return None
    if best_row <= best_column:
        at = top + row + 1
        spans = [(top, left, at, right), (at, left, bottom, right)]
    else:
        at = left + column + 1
        spans = [(top, left, bottom, at), (top, at, bottom, right)]
    return [part for part in (_around(blocks, one) for one in spans) if part is not None]


def _around_hole(blocks: Blocks, sums: Floats, span: Span) -> list[Span] | None:
    """The parts of a span around its heaviest hole; None where leaving it out saves too little.

    Cutting such a frame in two would save nothing::

        +-----------+
        |   above   |
        +---+---+---+
        | l | 0 | r |
        +---+---+---+
        |   below   |
        +-----------+
    """
    top, left, bottom, right = span
    inner = blocks[top:bottom, left:right]
    places = np.linspace(0, inner.shape[0] - 1, ROWS + 2).astype(np.int64)[1:-1]
    holes = {_hole(inner, int(row)) for row in places}
    moved = [(top + a, left + b, top + c, left + d) for a, b, c, d in holes]
    high, start, low, end = max(moved, key=lambda hole: float(_weight(sums, *hole)))
    if float(_weight(sums, high, start, low, end)) < LEAST_SAVED * (len(SIDES) - 1):
        return None
    spans = [
        (top, left, high, right),
        (high, left, low, start),
        (high, end, low, right),
        (low, left, bottom, right),
    ]
    return [part for part in (_around(blocks, one) for one in spans) if part is not None]


def _hole(marks: NDArray[np.bool_], row: int) -> Span:
    """The longest run without marks in a row, and the rows around it that have none there."""
    edges = np.flatnonzero(np.concatenate([[True], marks[row], [True]]))
    longest = int(np.diff(edges).argmax())
    start, end = int(edges[longest]), int(edges[longest + 1]) - 1
    filled = marks[:, start:end].any(1)
    above = np.flatnonzero(filled[:row])
    below = np.flatnonzero(filled[row:])
    high = int(above[-1]) + 1 if len(above) else 0
    return high, start, row + int(below[0]) if len(below) else len(marks), end


def _weights(marks: NDArray[np.bool_], sums: Floats) -> Floats:
    """Weight of both boxes around the marks, for a cut after each row but the last."""
    rows = marks.shape[0]
    above = _from_top(marks)
    below = [values[::-1] for values in _from_top(marks[::-1])]
    top, left, bottom, right = (values[:-1] for values in above)
    low, start, high, end = (values[1:] for values in below)
    return _weight(sums, top, left, bottom, right) + _weight(
        sums, rows - high, start, rows - low, end
    )


def _from_top(marks: NDArray[np.bool_]) -> tuple[Ints, Ints, Ints, Ints]:
    """Top, left, bottom and right of the box around the marks of the first k rows, k = 1 .. all."""
    rows, columns = marks.shape
    filled = marks.any(1)
    at = np.arange(rows)
    bottom = np.maximum.accumulate(np.where(filled, at + 1, 0))
    right = np.maximum.accumulate(np.where(filled, columns - marks[:, ::-1].argmax(1), 0))
    # Without marks a box is empty: it begins where it ends.
    top = np.minimum(np.minimum.accumulate(np.where(filled, at, rows)), bottom)
    left = np.minimum(np.minimum.accumulate(np.where(filled, marks.argmax(1), columns)), right)
    return top, left, bottom, right
