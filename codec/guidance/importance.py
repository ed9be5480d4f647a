"""Importance maps as data: what a guide returns and what a user may give. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.coding.latent_grid import latent_grid
from codec.errors import BadArgument

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Rule = Literal["zscore", "paper", "value", "cost"]
Box = Sequence[float]
# A fixed list, so that Pillow never starts another program to read a map.
MAP_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "GIF")


@dataclass(frozen=True)
class Importance:
    """How much each place of a picture matters.

    Attributes:
        values: float32 [rows, cols], finite and >= 0, stretched over the whole picture.
        rule: how bitstream.qp_map.levels reads the values.
        trust: 0..1, the share of the strength that the guide considers right for this picture.
    """

    values: Floats
    rule: Rule = "zscore"
    trust: float = 1.0


class Guide(Protocol):
    """Where importance comes from."""

    def __call__(self, pixels: Pixels) -> Importance | None:
        """Look at a picture.

        Args:
            pixels: uint8 [H, W, 3].

        Returns:
            Its importance; None if all places matter alike.
        """


def checked(values: Any) -> Floats:
    """Check a user's map.

    Args:
        values: a two-dimensional array of numbers >= 0.

    Returns:
        float32 [rows, cols].

    Raises:
        BadArgument: the map holds NaN, infinite or negative values or no numbers, it is empty, or
            it is not two-dimensional.
    """
    try:
        array = np.asarray(values, np.float32)
    except (TypeError, ValueError):
        raise BadArgument("an importance map must be a two-dimensional array of numbers") from None
    if array.ndim != 2 or array.size == 0:
        raise BadArgument(
            "an importance map must be two-dimensional and not empty, "
            f"not of shape {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise BadArgument("the importance map holds NaN or infinite values")
    if array.min() < 0:
        raise BadArgument("the importance map holds negative values; 0 is the least important")
    return array


def resized(values: Floats, rows: int, cols: int) -> Floats:
    """Resample a map to another grid over the same picture.

    Args:
        values: float32, two-dimensional.
        rows: rows of the result.
        cols: columns of the result.

    Returns:
        float32 [rows, cols]: area means when a side shrinks, otherwise bilinear.
    """
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    shrinks = image.height > rows or image.width > cols
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    return np.asarray(image.resize((cols, rows), method))


def from_file(path: Path) -> Floats:
    """Read a map from a file.

    Args:
        path: a .npy array, or a picture whose grey value is the importance.

    Returns:
        float32 [rows, cols].

    Raises:
        BadArgument: the file is unreadable, or `checked` refuses its content.
    """
    try:
        if path.suffix.lower() == ".npy":
            return checked(np.load(path, allow_pickle=False))
        with Image.open(path, formats=MAP_FORMATS) as image:
            return checked(np.asarray(image.convert("F")))
    except BadArgument:
        raise
    except Exception as error:  # Pillow's plugins raise any type over hostile bytes
        raise BadArgument(
            f"no importance map can be read from {path} ({type(error).__name__})"
        ) from None


def boxes_of(regions: Any) -> tuple[Box, ...]:
    """Read regions.

    Args:
        regions: one box (left, top, right, bottom) in pixels, or several.

    Returns:
        The boxes as tuples.

    Raises:
        BadArgument: a box does not have four numbers.
    """
    try:
        items = list(regions)
        if len(items) == 4 and all(np.ndim(item) == 0 for item in items):
            items = [items]
        boxes = tuple(tuple(float(value) for value in box) for box in items)
    except (TypeError, ValueError):
        # The check below refuses this value with its message.
        boxes = ((),)
    if any(len(box) != 4 for box in boxes):
        raise BadArgument("regions must be boxes (left, top, right, bottom) in pixels")
    return boxes


def from_boxes(boxes: Sequence[Box], height: int, width: int, rows: int, cols: int) -> Floats:
    """Make a map from regions.

    Args:
        boxes: left, top, right, bottom of each region in pixels.
        height: of the picture in pixels.
        width: of the picture in pixels.
        rows: rows of the map.
        cols: columns of the map.

    Returns:
        float32 [rows, cols], the share of each cell that lies in a region.

    Raises:
        BadArgument: a box has another length, or holds no pixel of the picture.
    """
    inside = np.zeros((height, width), np.float32)
    for box in boxes:
        if len(box) != 4 or not np.isfinite(np.asarray(box, float)).all():
            raise BadArgument("a region must be (left, top, right, bottom) in pixels")
        left, top, right, bottom = (round(float(v)) for v in box)
        left = max(left, 0)
        top = max(top, 0)
        right = min(right, width)
        bottom = min(bottom, height)
        if left >= right or top >= bottom:
            raise BadArgument(
                f"the region {tuple(box)} holds no pixel of this {width}x{height} picture"
            )
        inside[top:bottom, left:right] = 1
    return resized(inside, rows, cols)


@dataclass(frozen=True)
class ArrayGuide:
    """The same map for every picture, stretched over it.

    Attributes:
        values: float32 [rows, cols], >= 0.
    """

    values: Floats

    def __call__(self, pixels: Pixels) -> Importance | None:
        """Return the map; see Guide."""
        return Importance(self.values)


@dataclass(frozen=True)
class RegionGuide:
    """Regions that matter more than the rest.

    Attributes:
        boxes: left, top, right, bottom of each region in pixels.
    """

    boxes: tuple[Box, ...]

    def __call__(self, pixels: Pixels) -> Importance | None:
        """Return the regions as a map on the latent grid; see Guide. Raises BadArgument."""
        height, width = pixels.shape[:2]
        return Importance(from_boxes(self.boxes, height, width, *latent_grid(height, width)))


def uniform(pixels: Pixels) -> Importance | None:
    """Guide without guidance: all places matter alike."""
    return None
