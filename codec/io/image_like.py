"""What counts as a picture: one function from anything that holds one to a `Picture`."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from codec.errors import BadArgument, TooLarge
from codec.io import images

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

# A path, the bytes of a picture file, a binary stream, a PIL image, uint8 [H, W, 3] or [H, W],
# float [3, H, W] in 0..1, or Hugging Face's {"bytes": ..., "path": ...}.
ImageLike = Union[
    str,
    "os.PathLike[str]",
    bytes,
    bytearray,
    memoryview,
    IO[bytes],
    "Image.Image",
    NDArray[Any],
    "Tensor",
    Mapping[str, Any],
    images.Picture,
]


def to_picture(image: ImageLike, limit_pixels: int) -> images.Picture:
    """Read a picture from anything that holds one.

    Args:
        image: see ImageLike. Of a mapping, `bytes` is used before `path`.
        limit_pixels: the most pixels that are read.

    Returns:
        The picture, upright, with 8 bits a sample.

    Raises:
        BadArgument: the argument holds no picture.
        BadPicture: the bytes cannot be decoded.
        TooLarge: there are more than `limit_pixels` pixels.
        OSError: a file cannot be opened.
    """
    from PIL import Image

    if isinstance(image, images.Picture):
        return image
    if isinstance(image, Image.Image):
        return images.from_pil(image, limit_pixels)
    if isinstance(image, Mapping):
        return _of_mapping(image, limit_pixels)
    if isinstance(image, (bytearray, memoryview)):
        return images.load(bytes(image), limit_pixels)
    if isinstance(image, (str, bytes)) or hasattr(image, "read"):
        return images.load(image, limit_pixels)  # type: ignore[arg-type]
    if isinstance(image, os.PathLike):
        return images.load(os.fspath(image), limit_pixels)
    picture = images.from_array(image)
    height, width = picture.pixels.shape[:2]
    if height * width > limit_pixels:
        raise TooLarge(f"the picture has more than limit_pixels = {limit_pixels} pixels")
    return picture


def _of_mapping(image: Mapping[str, Any], limit_pixels: int) -> images.Picture:
    data = image.get("bytes")
    if data is not None:
        return to_picture(io.BytesIO(data), limit_pixels)
    path = image.get("path")
    if path is not None:
        return to_picture(path, limit_pixels)
    raise BadArgument("a picture's mapping needs 'bytes' or 'path', as in Hugging Face data sets")


def size_of(picture: images.Picture) -> tuple[int, int]:
    """Height and width in pixels."""
    height, width = picture.pixels.shape[:2]
    return height, width


def samples_of(picture: images.Picture) -> NDArray[np.uint8]:
    """The samples that a lossless tool codes: [H, W, 1] grey, [H, W, 3] or [H, W, 4] with alpha."""
    if picture.alpha is not None:
        return np.dstack([picture.pixels, picture.alpha])
    return picture.pixels[..., :1] if picture.grey else picture.pixels
