"""Importance maps as data: what a guide returns and what a user may give. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import BadArgument

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Rule = Literal["zscore", "paper", "value"]
Box = Sequence[float]
# Named, so that Pillow starts no program for a map's file.
MAP_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "PPM", "GIF")


@dataclass(frozen=True)
class Importance:
    """values: float32 [rows, cols], finite and >= 0, stretched over the whole picture; rule: how stepfield.levels reads them.

    trust: 0..1, the share of the strength that the guide itself thinks right for this picture.
    """

    values: Floats
    rule: Rule = "zscore"
    trust: float = 1.0


class Guide(Protocol):
    """Where importance comes from."""

    def __call__(self, pixels: Pixels) -> Importance | None:
        """Importance of a picture [H, W, 3]; None: all places alike."""


def checked(values: Any) -> Floats:
    """A user's map as float32 [rows, cols]. Raises BadArgument for NaN, negative, empty or non-numeric maps, or another rank."""
    try:
        array = np.asarray(values, np.float32)
    except (TypeError, ValueError):
        raise BadArgument("an importance map must be a two-dimensional array of numbers") from None
    if array.ndim != 2 or array.size == 0:
        raise BadArgument(
            f"an importance map must be two-dimensional and not empty, not of shape {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        raise BadArgument("the importance map holds NaN or infinite values")
    if array.min() < 0:
        raise BadArgument("the importance map holds negative values; 0 is the least important")
    return array


def resized(values: Floats, rows: int, cols: int) -> Floats:
    """Another grid over the same picture: area means when shrinking, bilinear when growing."""
    image = Image.fromarray(np.ascontiguousarray(values, np.float32))
    shrinking = image.height > rows or image.width > cols
    return np.asarray(
        image.resize((cols, rows), Image.Resampling.BOX if shrinking else Image.Resampling.BILINEAR)
    )


def from_file(path: Path) -> Floats:
    """A map from a .npy array or a picture (its grey value). Raises BadArgument for a file that holds neither."""
    try:
        if path.suffix.lower() == ".npy":
            return checked(np.load(path, allow_pickle=False))
        with Image.open(path, formats=MAP_FORMATS) as image:
            return checked(np.asarray(image.convert("F")))
    except BadArgument:
        raise
    except Exception as error:  # Pillow's plugins raise whatever they like over hostile bytes
        raise BadArgument(
            f"no importance map can be read from {path} ({type(error).__name__})"
        ) from None


def boxes_of(regions: Any) -> tuple[Box, ...]:
    """One box (left, top, right, bottom) or several of them, as tuples. Raises BadArgument."""
    try:
        items = list(regions)
        if len(items) == 4 and all(np.ndim(item) == 0 for item in items):
            items = [items]
        boxes = tuple(tuple(float(value) for value in box) for box in items)
    except (TypeError, ValueError):
        boxes = ((),)
    if any(len(box) != 4 for box in boxes):
        raise BadArgument("regions must be boxes (left, top, right, bottom) in pixels")
    return boxes


def from_boxes(boxes: Sequence[Box], height: int, width: int, rows: int, cols: int) -> Floats:
    """The share of each cell [rows, cols] that lies in one of the boxes (left, top, right, bottom) in pixels.

    Raises BadArgument for a box of another length, or one outside of the picture.
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
    """The same map for every picture, resized to it."""

    values: Floats

    def __call__(self, pixels: Pixels) -> Importance | None:
        return Importance(self.values)


@dataclass(frozen=True)
class RegionGuide:
    """Boxes (left, top, right, bottom) in pixels matter, the rest less."""

    boxes: tuple[Box, ...]

    def __call__(self, pixels: Pixels) -> Importance | None:
        height, width = pixels.shape[:2]
        return Importance(from_boxes(self.boxes, height, width, -(-height // 16), -(-width // 16)))


def uniform(pixels: Pixels) -> Importance | None:
    """No guidance."""
    return None
