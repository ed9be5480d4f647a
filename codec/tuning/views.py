"""Chooses the parts of a picture that a step of tuning compares, and the part to decode for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from codec.coding.latent_grid import STRIDE

ZOOM = 1.34  # chosen on training photos (docs/tuning.md)


@dataclass(frozen=True)
class Box:
    """A part of a picture, in pixels.

    Attributes:
        top: first row.
        left: first column.
        height: rows, at least 1.
        width: columns, at least 1.
    """

    top: int
    left: int
    height: int
    width: int

    def of(self, picture: Tensor) -> Tensor:
        """The part of a picture [..., H, W]."""
        rows = slice(self.top, self.top + self.height)
        return picture[..., rows, self.left : self.left + self.width]

    def within(self, other: Box) -> Box:
        """The same part, counted from another's corner."""
        return Box(self.top - other.top, self.left - other.left, self.height, self.width)


def boxes(look: int, sides: tuple[int, int], size: tuple[int, int], count: int) -> list[Box]:
    """Draw the boxes of a look, which cover three quarters to all of the picture's short side.

    Args:
        look: its number; equal numbers give equal boxes.
        sides: (rows, columns) of the picture.
        size: (rows, columns) of the network's input, whose shape the boxes have.
        count: how many boxes.

    Returns:
        Boxes of one size at different places.
    """
    random = np.random.default_rng(look)
    zoom = random.uniform(1, ZOOM)
    places = random.random((count, 2))
    scale = zoom * max(target / side for target, side in zip(size, sides))
    height, width = (min(side, max(1, round(target / scale))) for target, side in zip(size, sides))
    return [
        Box(int(down * (sides[0] - height + 1)), int(right * (sides[1] - width + 1)), height, width)
        for down, right in places
    ]


def around(seen: Sequence[Box], sides: tuple[int, int]) -> Box:
    """The smallest box of whole latent positions, cut at the picture's border, around boxes."""
    ends = []
    for first, last, side in (
        (min(b.top for b in seen), max(b.top + b.height for b in seen), sides[0]),
        (min(b.left for b in seen), max(b.left + b.width for b in seen), sides[1]),
    ):
        start = first // STRIDE * STRIDE
        ends.append((start, min(side, -(-last // STRIDE) * STRIDE) - start))
    (top, height), (left, width) = ends
    return Box(top, left, height, width)
