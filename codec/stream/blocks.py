"""Blocks of 8x8 pixels: which of them differ, and by how much.

::

    pixels [H, W, 3] -> one number for each pixel [H, W] -> those that differ
      -> one answer for each block [H / 8, W / 8]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Packed = NDArray[np.uint32]
Blocks = NDArray[np.bool_]
Hashes = NDArray[np.uint64]
SIDE = 8
# If more than this share of a box's blocks is asked for, all of its blocks are computed.
DENSE = 0.2
# Odd numbers of 64 bits, the same ones in every process: one for each pair of a block's pixels.
FACTORS = np.random.default_rng(1).integers(1 << 62, 1 << 63, (SIDE, SIDE // 2), np.uint64)
FACTORS = FACTORS * np.uint64(2) + np.uint64(1)


def grid_of(pixels: Pixels) -> tuple[int, int]:
    """Rows and columns of the blocks of a picture [H, W, 3], rounded up."""
    return -(-pixels.shape[0] // SIDE), -(-pixels.shape[1] // SIDE)


def packed(pixels: Pixels) -> Packed:
    """One number for each pixel [H, W]: red, green, blue and 0, from the lowest byte on."""
    height, width = pixels.shape[:2]
    flat = np.zeros(pixels.size + 1, np.uint8)
    flat[:-1] = pixels.reshape(-1)
    # At every third byte a 4-byte number is read; its last byte belongs to the next pixel.
    overlapping = np.lib.stride_tricks.as_strided(flat[:4].view("<u4"), (height * width,), (3,))
    return (overlapping & np.uint32(0xFFFFFF)).reshape(height, width)


def hashes(pixels: Packed) -> Hashes:
    """A number of 64 bits for each block: equal blocks have equal ones, others rarely have."""
    words = _words(pixels)
    columns = words.shape[2] // (SIDE // 2)
    mixed = words ^ words >> np.uint64(29)
    mixed *= np.tile(FACTORS, (1, columns))
    sums: Hashes = np.add.reduce(mixed, 1).reshape(len(words), columns, SIDE // 2).sum(2)
    return sums


def lively(pixels: Packed) -> NDArray[np.bool_]:
    """Pixels that differ from the one to the left or above: flat ones cost nothing to send."""
    differ = np.zeros(pixels.shape, np.bool_)
    np.not_equal(pixels[:, 1:], pixels[:, :-1], out=differ[:, 1:])
    differ[1:] |= pixels[1:] != pixels[:-1]
    return differ


def errors(a: Pixels, b: Pixels, which: Blocks, tolerance: int = 0) -> NDArray[np.float32]:
    """Mean squared differences of blocks, in the channel where they are largest.

    Args:
        a: uint8 [H, W, 3].
        b: the same shape.
        which: marks the N blocks to compare.
        tolerance: levels by which samples that are not known exactly may be wrong.

    Returns:
        [N], in squared levels.
    """
    rows, columns = np.flatnonzero(which.any(1)), np.flatnonzero(which.any(0))
    if not len(rows):
        return np.zeros(0, np.float32)
    span = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    inner = which[span]
    if inner.mean() < DENSE:
        differences = np.abs(gathered(a, which).astype(np.int16) - gathered(b, which)) + tolerance
        return np.square(differences.astype(np.float32)).mean((1, 2)).max(1)
    return _dense(_part(a, span), _part(b, span), tolerance)[inner]


def _part(pixels: Pixels, span: tuple[slice, slice]) -> Pixels:
    """The pixels of a span of blocks, filled up to whole blocks by the picture's edge."""
    rows, columns = (slice(one.start * SIDE, one.stop * SIDE) for one in span)
    part = pixels[rows, columns]
    missing = (rows.stop - rows.start - part.shape[0], columns.stop - columns.start - part.shape[1])
    if not any(missing):
        return part
    return np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")


def _dense(a: Pixels, b: Pixels, tolerance: int) -> NDArray[np.float32]:
    """`errors` of all blocks [rows, columns] of pictures of whole blocks."""
    differences = np.subtract(a, b, dtype=np.int16)
    if tolerance:
        differences = np.abs(differences) + np.int16(tolerance)
    wide = differences.astype(np.float32)
    wide *= wide
    height, width = a.shape[:2]
    lines = np.add.reduce(wide.reshape(height // SIDE, SIDE, width * 3), 1)
    sums = lines.reshape(height // SIDE, width // SIDE, SIDE, 3).sum(2)
    return np.asarray(sums.max(2) / SIDE**2, np.float32)


def gathered(pixels: Pixels, which: Blocks) -> Pixels:
    """The pixels [N, 8, 8, 3] of the blocks asked for; the picture's edge is repeated."""
    rows, columns = np.nonzero(which)
    height, width = pixels.shape[:2]
    inside = np.arange(SIDE)
    y = np.minimum(rows[:, None] * SIDE + inside, height - 1)
    x = np.minimum(columns[:, None] * SIDE + inside, width - 1)
    return pixels[y[:, :, None], x[:, None, :]]


def of_pixels(which: NDArray[np.bool_]) -> Blocks:
    """Which blocks [ceil(H / 8), ceil(W / 8)] contain a marked pixel of [H, W]."""
    # Eight pixels at a time: a row of a block is one word.
    return np.bitwise_or.reduce(_words(which), 1) != 0


def _words(values: NDArray[Any]) -> NDArray[np.uint64]:
    """Values [H, W] as words of 8 bytes [rows of blocks, 8, words]; the last blocks are filled."""
    height, width = values.shape
    rows, columns = -(-height // SIDE), -(-width // SIDE)
    if values.shape != (rows * SIDE, columns * SIDE):
        whole = np.zeros((rows * SIDE, columns * SIDE), values.dtype)
        whole[:height, :width] = values
        values = whole
    return np.ascontiguousarray(values).view(np.uint64).reshape(rows, SIDE, -1)
