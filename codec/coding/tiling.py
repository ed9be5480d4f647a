"""Large pictures in tiles: a transform sees each tile with a margin, and the margin is cut off.

::

    |  margin  |        kept        |  margin  |
    |<-------------- seen --------------->|

The margin is as wide as the transform's receptive field, so the result of a tile equals that part
of the whole picture's result. At the picture's border there is no margin.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

LARGEST = 144  # latent positions a side that are still processed whole
TILE = 96  # latent positions a side of a tile at most, without its margin


@dataclass(frozen=True)
class Span:
    """A tile along one side, in latent positions: it sees first..last and keeps start..stop."""

    start: int
    stop: int
    first: int
    last: int

    def seen(self, unit: int = 1) -> slice:
        """The part that the tile sees. unit: parts of a latent position (16 for pixels)."""
        return slice(self.first * unit, self.last * unit)

    def kept(self, unit: int = 1) -> slice:
        return slice(self.start * unit, self.stop * unit)

    def inside(self, unit: int = 1) -> slice:
        """The kept part, counted from the first position that the tile sees."""
        return slice((self.start - self.first) * unit, (self.stop - self.first) * unit)


def spans(length: int, margin: int, tile: int | None = None) -> list[Span]:
    """Divide a side into about equal parts, each with a margin.

    All parts see the same number of positions: oneDNN keeps a plan for every shape that it meets,
    which took 150 MB (docs/decisions.md, 11).

    Args:
        length: of the side, in latent positions.
        margin: positions to see on both sides of a part.
        tile: positions of a part at most. Default: TILE.

    Returns:
        The parts in order.
    """
    count = -(-length // (tile or TILE))
    edges = [length * k // count for k in range(count + 1)]
    window = min(length, -(-length // count) + 2 * margin)
    parts = []
    for start, stop in pairwise(edges):
        first = min(max(0, start - margin), length - window)
        parts.append(Span(start, stop, first, first + window))
    return parts


def tiles(
    rows: int, cols: int, margin: int, tile: int | None = None
) -> Iterator[tuple[Span, Span]]:
    """Yield the rows and columns of every tile; arguments as for `spans`."""
    for row in spans(rows, margin, tile):
        for col in spans(cols, margin, tile):
            yield row, col
