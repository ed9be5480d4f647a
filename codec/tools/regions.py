"""Rectangles of photographic content in a picture that is otherwise drawn.

::

    pixels -> blocks of 8x8: photographic or not -> cells of 32x32 -> connected -> rectangles
    pixels, rectangles -> the rectangles filled with one colour -> the screen tool
    screen tool's pixels + each rectangle's pixels, pasted -> picture

A list of regions is written as::

    count | left, top, columns, rows (units of 8 pixels) | length | payload | ...

All numbers are varints. A rectangle at the picture's right or lower edge ends there.

With photographs of train/photos pasted into screenshots of train/screens (four pages of 896x672, a
quarter of each photographic), learned regions in an AV1 page needed 12 % fewer bytes (5 to 17 %)
than AV1 alone for the same error of DeiT-Tiny's last tokens on native tiles. On nine pages drawn by
training.data.pages with photographs of 8 to 20 %, they needed as many (15 % fewer to 11 % more).
Such files need the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import Reader, put_varint
from codec.errors import BadArgument, Corrupt, Truncated
from codec.tools.choosing.features import SIDE, block_maps

Pixels = NDArray[np.uint8]
T = TypeVar("T", bound=np.generic)
Cells = NDArray[np.bool_]
UNIT = 8
# A cell is 4x4 blocks of 8x8 pixels.
CELL_BLOCKS = 4
CELL = SIDE * CELL_BLOCKS
# Of a cell's 16 blocks, the number that must be photographic.
CELL_PHOTOGRAPHIC = 9
# A region's least side in cells (96 pixels), and the share of its cells that must be photographic.
LEAST_CELLS = 3
LEAST_FILLED = 0.75
# Pixels: a separate payload for a smaller photograph costs more than it saves.
LEAST_AREA = 32768
MOST_REGIONS = 4
MOST_READ = 16


@dataclass(frozen=True, order=True)
class Box:
    """Pixels left <= x < right, top <= y < bottom; in regions, left and top are multiples of 8."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """The area in pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    def of(self, pixels: NDArray[T]) -> NDArray[T]:
        """The pixels in the box, as a view of [H, W, ...]."""
        return pixels[self.top : self.bottom, self.left : self.right]

    def overlaps(self, other: Box) -> bool:
        """Whether they share a pixel."""
        beside = self.right <= other.left or other.right <= self.left
        above = self.bottom <= other.top or other.bottom <= self.top
        return not (beside or above)


@dataclass(frozen=True)
class Region:
    """A rectangle of a picture that is coded separately."""

    box: Box
    payload: bytes


def find(pixels: Pixels) -> list[Box]:
    """Rectangles of photographic content.

    Args:
        pixels: uint8 [H, W, 3].

    Returns:
        At most four boxes without overlap, the largest first; none for a picture that is all
        photograph or all drawn.
    """
    height, width = pixels.shape[:2]
    if min(height, width) < LEAST_CELLS * CELL:
        return []
    cells = _photographic(pixels)
    labels = _connected(cells)
    boxes: list[Box] = []
    for label in np.unique(labels[cells]):
        rows, columns = np.nonzero(labels == label)
        top, left = rows.min(), columns.min()
        bottom, right = rows.max() + 1, columns.max() + 1
        if min(bottom - top, right - left) < LEAST_CELLS:
            continue
        if cells[top:bottom, left:right].mean() < LEAST_FILLED:
            continue
        sides = (left, top, right, bottom)
        box = Box(*(int(side) * CELL for side in sides))
        if box.area >= LEAST_AREA:
            boxes.append(box)
    boxes.sort(key=lambda box: (-box.area, box))
    kept: list[Box] = []
    for box in boxes:
        if not any(box.overlaps(other) for other in kept):
            kept.append(box)
    return [] if cells.mean() > LEAST_FILLED else kept[:MOST_REGIONS]


def fill(pixels: Pixels, boxes: Sequence[Box]) -> Pixels:
    """The picture with each box in the commonest colour around it, which costs almost nothing."""
    filled = pixels.copy()
    for box in boxes:
        box.of(filled)[:] = _around(pixels, box)
    return filled


def paste(pixels: Pixels, box: Box, part: Pixels) -> None:
    """Put a region's pixels [h, w, C] into a picture, in place.

    Raises:
        Corrupt: the part is not of the box's size.
    """
    place = box.of(pixels)
    if place.shape != part.shape:
        raise Corrupt(f"a region of the picture is {part.shape[:2]}, not {place.shape[:2]} pixels")
    place[:] = part


def pack(regions: Sequence[Region], height: int, width: int) -> bytes:
    """Regions as bytes.

    Raises:
        BadArgument: a box is not on the grid, not in the picture, or overlaps another, or there are
            more than 16.
    """
    out = [put_varint(len(regions))]
    for region in regions:
        box = region.box
        sides = box.right - box.left, box.bottom - box.top
        units = (box.left // UNIT, box.top // UNIT, -(-sides[0] // UNIT), -(-sides[1] // UNIT))
        out += [put_varint(max(0, unit)) for unit in units]
        out += [put_varint(len(region.payload)), region.payload]
    data = b"".join(out)
    try:
        same = unpack(data, height, width) == list(regions)
    except Corrupt:
        same = False
    if not same:
        raise BadArgument("regions must lie in the picture, on a grid of 8 pixels, without overlap")
    return data


def unpack(data: bytes, height: int, width: int) -> list[Region]:
    """The regions of a picture of that size, from the bytes that `pack` made.

    Raises:
        Corrupt: the bytes are not such a list.
    """
    reader = Reader(data)
    try:
        count = reader.varint()
        if count > MOST_READ:
            raise Corrupt(f"a picture has {count} regions; fetch or copy the file again")
        regions = [_read(reader, height, width) for _ in range(count)]
    except Truncated:
        raise Corrupt("the list of regions ends too early; fetch or copy the file again") from None
    if reader.at != len(data):
        raise Corrupt("bytes follow the list of regions; fetch or copy the file again")
    boxes = [region.box for region in regions]
    for place, box in enumerate(boxes):
        if any(box.overlaps(other) for other in boxes[:place]):
            raise Corrupt("two regions of the picture overlap; fetch or copy the file again")
    return regions


def _read(reader: Reader, height: int, width: int) -> Region:
    left, top, columns, rows = (reader.varint() * UNIT for _ in range(4))
    payload = bytes(reader.take(reader.varint()))
    inside = left < width and top < height and columns and rows
    # A box may reach beyond the picture by less than one unit only.
    inside = inside and left + columns < width + UNIT and top + rows < height + UNIT
    if not inside or not payload:
        raise Corrupt("a region of the picture is malformed; fetch or copy the file again")
    box = Box(left, top, min(left + columns, width), min(top + rows, height))
    return Region(box, payload)


def _photographic(pixels: Pixels) -> Cells:
    """Which cells [H // 32, W // 32] show a photograph."""
    maps = block_maps(pixels)
    photographic = ~(maps.flat | maps.drawn | maps.ground)
    rows = photographic.shape[0] // CELL_BLOCKS
    columns = photographic.shape[1] // CELL_BLOCKS
    shaped = photographic[: rows * CELL_BLOCKS, : columns * CELL_BLOCKS]
    counts = shaped.reshape(rows, CELL_BLOCKS, columns, CELL_BLOCKS).sum((1, 3))
    cells: Cells = counts >= CELL_PHOTOGRAPHIC
    return _closed(cells)


def _closed(cells: Cells) -> Cells:
    """Cells with gaps of one cell between two others filled."""
    around = np.pad(cells, 1)
    beside = around[1:-1, :-2] & around[1:-1, 2:]
    above = around[:-2, 1:-1] & around[2:, 1:-1]
    return cells | beside | above


def _connected(cells: Cells) -> NDArray[np.int64]:
    """A number for each cell; cells that touch at a side have the same, others 0."""
    labels = np.where(cells, np.arange(1, cells.size + 1).reshape(cells.shape), 0)
    while True:
        around = np.pad(labels, 1)
        sides = (around[1:-1, :-2], around[1:-1, 2:], around[:-2, 1:-1], around[2:, 1:-1])
        spread = np.where(cells, np.maximum.reduce([labels, *sides]), 0)
        if np.array_equal(spread, labels):
            return labels
        labels = spread


def _around(pixels: Pixels, box: Box) -> Pixels:
    """The commonest colour just outside a box; just inside where nothing is outside."""
    height, width = pixels.shape[:2]
    lines = []
    if box.top:
        lines.append(pixels[box.top - 1, box.left : box.right])
    if box.bottom < height:
        lines.append(pixels[box.bottom, box.left : box.right])
    if box.left:
        lines.append(pixels[box.top : box.bottom, box.left - 1])
    if box.right < width:
        lines.append(pixels[box.top : box.bottom, box.right])
    border = np.concatenate(lines or [pixels[box.top, box.left : box.right]])
    colours, counts = np.unique(border, axis=0, return_counts=True)
    commonest: Pixels = colours[counts.argmax()]
    return commonest
