"""Resize pictures, by Lanczos's filter as Pillow computes it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from codec.errors import BadArgument, TooLarge
from codec.io.images import Picture

Size = tuple[int, int]  # width, height


def parse(text: str) -> Size | int:
    """Read a size.

    Args:
        text: "800x600", or "1568" for the long side.

    Returns:
        Width and height, or the long side, in pixels.

    Raises:
        BadArgument: it is neither.
    """
    numbers = text.lower().split("x")
    if len(numbers) > 2 or not all(number.isdecimal() and int(number) for number in numbers):
        raise BadArgument(f"a size is WIDTHxHEIGHT or the long side in pixels, not '{text}'")
    if len(numbers) == 1:
        return int(numbers[0])
    return int(numbers[0]), int(numbers[1])


def resized(picture: Picture, size: Size, limit_pixels: int) -> Picture:
    """Resize a picture.

    Colours are weighted by alpha, so that invisible pixels do not bleed into visible ones.

    Args:
        picture: the picture.
        size: width and height; it may be larger than the picture, and of another shape.
        limit_pixels: larger results are refused.

    Returns:
        The picture, the same one if it has that size already.

    Raises:
        TooLarge: the result would have more pixels.
    """
    height, width = picture.pixels.shape[:2]
    if size == (width, height):
        return picture
    if size[0] * size[1] > limit_pixels:
        raise TooLarge(
            f"a picture of {size[0]}x{size[1]} has more than {limit_pixels} pixels "
            "(raise limit_pixels)"
        )
    if picture.alpha is None:
        image = Image.fromarray(picture.pixels)
        return replace(picture, pixels=np.asarray(image.resize(size, Image.Resampling.LANCZOS)))
    image = Image.fromarray(np.dstack([picture.pixels, picture.alpha]))
    # Pillow multiplies colours by alpha before, and divides by it after.
    samples = np.asarray(image.resize(size, Image.Resampling.LANCZOS))
    pixels = np.ascontiguousarray(samples[:, :, :3])
    return replace(picture, pixels=pixels, alpha=np.ascontiguousarray(samples[:, :, 3]))
