"""A decoded message: the picture, and which of its pixels changed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.errors import BadArgument, only_codec_errors
from codec.io import images
from codec.io.compose import WHITE
from codec.results import Output, converted
from codec.stream.blocks import of_pixels, packed
from codec.stream.rectangles import in_pixels, rectangles, tight
from codec.tools.interface import Pixels

BoxOfPixels = tuple[int, int, int, int]


@dataclass(frozen=True)
class Frame:
    """What a decoder shows after a message.

    Attributes:
        content: pixels, alpha, profile and EXIF.
        before: what was shown before; None for the first picture.
        number: messages since the key frame; 0 for a whole file.
        checksum: of the file, hexadecimal; later messages refer to the file by it.
    """

    content: images.Picture
    before: images.Picture | None
    number: int
    checksum: str

    @property
    def is_key(self) -> bool:
        """Whether the message was a whole file."""
        return self.number == 0

    @property
    def pixels(self) -> Pixels:
        """uint8 [H, W, 3]; not to be written to."""
        return self.content.pixels

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @cached_property
    def picture(self) -> Image.Image:
        """The picture as a PIL image, with alpha, profile and EXIF."""
        return images.to_pil(self.content)

    def to(self, output: Output, background: Any = WHITE) -> Any:
        """Convert the picture; see `Decoded.to`."""
        return converted(self.content, output, background)

    @cached_property
    def changed_pixels(self) -> NDArray[np.bool_]:
        """Which pixels [H, W] differ from those shown before; all of them for another size."""
        before = self.before
        if before is None or before.pixels.shape != self.pixels.shape:
            return np.ones(self.size, np.bool_)
        if before.alpha is None and self.content.alpha is None:
            return packed(before.pixels) != packed(self.pixels)
        return packed(images.shown(before)) != packed(images.shown(self.content))

    @cached_property
    def changed(self) -> list[BoxOfPixels]:
        """Boxes (left, top, right, bottom) in pixels around everything that changed.

        They are few, so they may hold pixels that did not change; `changed_pixels` is exact.
        """
        boxes = (
            tight(self.changed_pixels, in_pixels(box, *self.size))
            for box in rectangles(of_pixels(self.changed_pixels))
        )
        return [(b.left, b.top, b.right, b.bottom) for b in boxes if b is not None]

    @only_codec_errors
    def changed_tokens(self, grid: tuple[int, int]) -> NDArray[np.int64]:
        """Find the patches that contain a changed pixel.

        Args:
            grid: rows and columns of patches that cover the whole picture evenly. For towers that
                resize or tile, use `codec.integrations.transformers.changed_tokens`.

        Returns:
            Their indexes, row by row, in rising order.

        Raises:
            BadArgument: the grid is not two whole numbers between 1 and the sides of the picture.
        """
        height, width = self.size
        rows, columns = grid
        if not (1 <= rows <= height and 1 <= columns <= width):
            raise BadArgument(f"a picture of {width}x{height} pixels has no grid of {grid}")
        over_rows = _over_ranges(self.changed_pixels, rows)
        return np.flatnonzero(_over_ranges(over_rows.T, columns).T)


def _over_ranges(marks: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Whether any row is marked in each of `count` even ranges of rows [count, W].

    A row that two ranges share counts for both.
    """
    rows = marks.shape[0]
    starts = np.arange(count) * rows // count
    ends = -(-np.arange(1, count + 1) * rows // count)
    totals = np.zeros((rows + 1, marks.shape[1]), np.int32)
    np.cumsum(marks, 0, out=totals[1:])
    return totals[ends] > totals[starts]
