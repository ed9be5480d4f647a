"""A few numbers that tell what kind of picture this is, from its pixels, in milliseconds.

::

    green channel -> blocks of 8x8: largest, smallest, equal neighbours -> flat | smooth | drawn
    every third pixel -> how often its colours occur
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Bytes = NDArray[np.uint8]
Blocks = NDArray[np.bool_]
SIDE = 8
START = 4
# Levels of the green channel, 0..255.
FLAT_RANGE = 2
SOFT_RANGE = 16
SHARP_RANGE = 64
GROUND_RANGE = 6
PAPER_RANGE = 16
# Of a block's 64 pixels: how many must equal their left neighbour for a drawn block, and how many
# must have a ground's colour for a block on a ground.
DRAWN_EQUALS = 29
GROUND_PIXELS = 24
MOST_GROUNDS = 3
# Share of the blocks that a ground must fill.
LEAST_GROUND = 0.01
STEP = 3
HASH_FACTORS = (7919, 40503, 31)


@dataclass(frozen=True)
class Features:
    """Features of a picture; they are shares, 0..1, unless stated otherwise.

    Attributes:
        flat: of blocks whose levels differ by 2 at most.
        ground: of the other blocks, those that show one of the colours that fill flat blocks.
        drawn: of the other blocks, those that are not soft and where half of the pixels repeat
            their neighbour.
        sharp: of the other blocks, those with a range of more than 64 levels.
        soft: of the other blocks, those with a range of less than 16 levels.
        top16: of pixels, those of the 16 commonest colours.
        top64: the same of 64 colours.
        top256: the same of 256 colours.
        colour: mean difference between the channels in levels, 0..510.
        level: mean level of green, 0..255.
        paper_level: level of paper, if this is a scan: the commonest lightest level of a block.
        paper: of blocks, those whose lightest level is near that of paper.
        ink: of blocks, those on paper with a range of more than 64 levels.
    """

    flat: float
    ground: float
    drawn: float
    sharp: float
    soft: float
    top16: float
    top64: float
    top256: float
    colour: float
    level: float
    paper_level: float
    paper: float
    ink: float

    def vector(self) -> NDArray[np.float64]:
        """All features, in the order above."""
        return np.array([getattr(self, one.name) for one in fields(self)])


@dataclass(frozen=True)
class BlockMaps:
    """Kinds of the 8x8 blocks [rows, columns]; the last rows and columns of pixels may be in none.

    Attributes:
        highest: the block's lightest level of green.
        flat, ground, drawn, sharp, soft: as in Features, of any block.
    """

    highest: Bytes
    flat: Blocks
    ground: Blocks
    drawn: Blocks
    sharp: Blocks
    soft: Blocks


def block_maps(pixels: Pixels, start: int = 0) -> BlockMaps:
    """Compute the block maps of a picture uint8 [H, W, 3] with sides of at least 8 + start.

    Args:
        pixels: the picture.
        start: row and column of the first block.
    """
    pixels = pixels[start:, start:]
    height = pixels.shape[0] // SIDE * SIDE
    width = pixels.shape[1] // SIDE * SIDE
    green = np.ascontiguousarray(pixels[:height, :width, 1])
    highest = _of_blocks(np.maximum, green)
    span = highest - _of_blocks(np.minimum, green)
    flat = span <= FLAT_RANGE
    equal = np.zeros_like(green)
    np.equal(green[:, 1:], green[:, :-1], out=equal[:, 1:].view(np.bool_))
    on_ground = _of_blocks(np.add, _grounds(highest[flat], flat.size)[green])
    return BlockMaps(
        highest=highest,
        flat=flat,
        ground=on_ground >= GROUND_PIXELS,
        drawn=(_of_blocks(np.add, equal) >= DRAWN_EQUALS) & (span >= SOFT_RANGE),
        sharp=span > SHARP_RANGE,
        soft=span < SOFT_RANGE,
    )


def features(pixels: Pixels) -> Features:
    """Compute the features of a picture uint8 [H, W, 3]; the edges of small ones are repeated."""
    # The blocks are shifted off a JPEG's grid, because JPEG's blocks are flat at low quality.
    missing = [max(0, SIDE + START - side) for side in pixels.shape[:2]]
    if any(missing):
        pixels = np.pad(pixels, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    maps = block_maps(pixels, START)
    busy = ~maps.flat
    count = max(1, int(busy.sum()))
    shares = {
        name: float((getattr(maps, name) & busy).sum()) / count
        for name in ("ground", "drawn", "sharp", "soft")
    }
    red, green, blue = (pixels[::STEP, ::STEP, channel].ravel() for channel in range(3))
    occurs = np.bincount(_hash(red, green, blue), minlength=1 << 16)
    commonest = np.sort(np.partition(occurs, -256)[-256:])[::-1]
    middle = green.astype(np.int16)
    colour = np.abs(red - middle).mean() + np.abs(blue - middle).mean()
    paper_level, on_paper = _paper(maps.highest)
    return Features(
        flat=float(maps.flat.mean()),
        **shares,
        top16=float(commonest[:16].sum() / len(green)),
        top64=float(commonest[:64].sum() / len(green)),
        top256=float(commonest.sum() / len(green)),
        colour=float(colour),
        level=float(green.mean()),
        paper_level=float(paper_level),
        paper=float(on_paper.mean()),
        ink=float((on_paper & maps.sharp).mean()),
    )


def _of_blocks(fold: Callable[[Bytes, Bytes], Bytes], values: Bytes) -> Bytes:
    """Reduce each block of [H, W] by an associative function, to [rows, columns]."""
    for axis in (0, 1):
        for _ in range(3):
            pairs = values if axis == 0 else values.T
            folded = fold(pairs[0::2], pairs[1::2])
            values = folded if axis == 0 else folded.T
    return values


def _grounds(levels: Bytes, blocks: int) -> Bytes:
    """1 for each level [256] near one that fills many flat blocks, else 0."""
    counts = np.convolve(np.bincount(levels, minlength=256), np.ones(5, int), "same")
    near = np.zeros(256, np.uint8)
    for _ in range(MOST_GROUNDS):
        level = int(counts.argmax())
        if counts[level] < LEAST_GROUND * blocks:
            break
        near[max(0, level - GROUND_RANGE) : level + GROUND_RANGE + 1] = 1
        counts[max(0, level - GROUND_RANGE) : level + GROUND_RANGE + 1] = 0
    return near


def _paper(highest: Bytes) -> tuple[int, Blocks]:
    """(the commonest level of blocks, which blocks are near it)."""
    width = 2 * PAPER_RANGE + 1
    near = np.convolve(np.bincount(highest.ravel(), minlength=256), np.ones(width, int), "same")
    level = int(near.argmax())
    return level, np.abs(highest.astype(np.int16) - level) <= PAPER_RANGE


def _hash(red: Bytes, green: Bytes, blue: Bytes) -> NDArray[np.uint16]:
    """16 bits of each colour; different colours rarely share them."""
    parts = zip((red, green, blue), HASH_FACTORS)
    return sum(
        (channel.astype(np.uint16) * np.uint16(factor) for channel, factor in parts),
        np.zeros(len(green), np.uint16),
    )
