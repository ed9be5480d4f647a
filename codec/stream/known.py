"""The receiver's pictures as the sender knows them, and which of their blocks can be kept."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from codec.stream import blocks
from codec.stream.pictures import Pictures
from codec.stream.rectangles import in_pixels, rectangles, tight
from codec.tools.interface import Pixels
from codec.tools.regions import Box

# An older picture is chosen if it differs in fewer than this share of the blocks in which the last
# picture differs.
OLDER_IS_BETTER = 0.7


@dataclass(frozen=True)
class Most:
    """Limits of what is kept.

    Attributes:
        error: mean squared error of a block; below 0 only equal blocks are kept.
        tolerance: levels by which the receiver's samples may differ from what the sender knows.
    """

    error: float
    tolerance: int


class Source:
    """A picture to be encoded, with properties that are computed once and kept.

    Args:
        pixels: uint8 [H, W, 3].

    Attributes:
        packed: one number for each pixel [H, W].
    """

    def __init__(self, pixels: Pixels) -> None:
        self.packed = blocks.packed(pixels)

    @cached_property
    def hashes(self) -> NDArray[np.uint64]:
        """The hashes of its blocks."""
        return blocks.hashes(self.packed)

    @cached_property
    def lively(self) -> NDArray[np.bool_]:
        """Pixels [H, W] that differ from a neighbour."""
        return blocks.lively(self.packed)

    @cached_property
    def lively_blocks(self) -> blocks.Blocks:
        """Blocks with such a pixel."""
        return blocks.of_pixels(self.lively)


@dataclass(frozen=True)
class Known:
    """A picture that the receiver has.

    Attributes:
        source: what was encoded, packed [H, W]; None where that is not known.
        origin: what each pixel was coded from when it was last sent, packed [H, W], or None.
        shown: uint8 [H, W, 3], what the receiver sees.
        hashes: of the source's blocks, or of those shown.
        tolerance: levels by which the receiver's samples may differ from `shown`.
        passing: whether it differs little from the picture that it was built on.
    """

    source: blocks.Packed | None
    origin: blocks.Packed | None
    shown: Pixels
    hashes: NDArray[np.uint64]
    tolerance: int
    passing: bool


def base_of(pictures: Pictures[Known], found: NDArray[np.uint64]) -> tuple[bytes, Known]:
    """The picture of which most blocks can be kept: the last one unless another is far better.

    Args:
        pictures: the pictures that the receiver has.
        found: hashes of the blocks of the new source.
    """
    (checksum, last), *older = pictures.newest_first()
    least = int((found != last.hashes).sum())
    best = (checksum, last)
    most = OLDER_IS_BETTER * least
    for other, known in older:
        count = int((found != known.hashes).sum()) if most else 0
        if count < most:
            most = count
            best = (other, known)
    return best


def leave_good_ones(
    changed: blocks.Blocks, shown: Pixels, origin: Pixels, pixels: Pixels, most: Most
) -> None:
    """Unmark the blocks that are good enough in the receiver's picture.

    Args:
        changed: blocks that differ from the source before; changed in place.
        shown: uint8 [H, W, 3], what the receiver sees.
        origin: the same shape, the source pixels that `shown` was coded from.
        pixels: the same shape, the new source.
        most: the limits.
    """
    if most.error < 0 or not changed.any():
        return
    error = blocks.errors(shown, pixels, changed, most.tolerance)
    moved = blocks.errors(origin, pixels, changed)
    changed[changed] = (error > most.error) & (moved > most.error)


def boxes_of(changed: blocks.Blocks, differ: NDArray[np.bool_], lively: blocks.Blocks) -> list[Box]:
    """Few rectangles around the pixels of changed blocks that differ from the source before."""
    height, width = differ.shape
    found = rectangles(changed, lively)
    boxes = (tight(differ, in_pixels(box, height, width)) for box in found)
    return [box for box in boxes if box is not None]
