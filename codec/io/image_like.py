"""The types that are accepted as a picture, and the samples that a tool codes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import IO, Any, Protocol, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec.io import images


class TensorLike(Protocol):
    """A torch tensor, without importing torch."""

    def detach(self) -> Any: ...


# A path, the bytes of a picture file, a binary stream, a PIL image, uint8 [H, W, 3] or [H, W],
# float [3, H, W] in 0..1, or Hugging Face's {"bytes": ..., "path": ...}.
ImageLike = Union[
    str,
    "os.PathLike[str]",
    bytes,
    bytearray,
    memoryview,
    IO[bytes],
    Image.Image,
    NDArray[Any],
    TensorLike,
    Mapping[str, Any],
    images.Picture,
]


def size_of(picture: images.Picture) -> tuple[int, int]:
    """Height and width in pixels."""
    height, width = picture.pixels.shape[:2]
    return height, width


def samples_of(picture: images.Picture) -> NDArray[np.uint8]:
    """The samples that a lossless tool codes: [H, W, 3], or [H, W, 4] with alpha."""
    if picture.alpha is None:
        return picture.pixels
    return np.dstack([picture.pixels, picture.alpha])
