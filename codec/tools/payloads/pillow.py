"""What the tools built on Pillow share: missing formats, one kind of error for hostile bytes."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, ImageFile, WebPImagePlugin, features

from codec.errors import BadArgument, CodecError, Corrupt, reason

Pixels = NDArray[np.uint8]
PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "AVIF": AvifImagePlugin.AvifImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}
# What Pillow raises over hostile bytes.
PILLOW_FAILS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)


class ToolUnavailable(CodecError):
    """The Pillow that is installed was built without the format that a coding tool needs."""


def check_format(name: str) -> None:
    """Raises ToolUnavailable where Pillow lacks the format, `AVIF` or `WEBP`."""
    if not features.check(name.lower()):
        raise ToolUnavailable(
            f"this Pillow was built without {name}; install a wheel from PyPI: pip install pillow"
        )


def check_pixels(pixels: Pixels, channels: tuple[int, ...]) -> None:
    """Raises BadArgument unless pixels are uint8 [H, W, C], C in `channels`, with no empty side."""
    if (
        pixels.dtype != np.uint8
        or pixels.ndim != 3
        or pixels.shape[2] not in channels
        or not pixels.size
    ):
        allowed = " or ".join(map(str, channels))
        raise BadArgument(
            f"pixels must be uint8 [H, W, {allowed}], not {pixels.dtype} {list(pixels.shape)}"
        )


def saved(image: Image.Image, name: str, **options: Any) -> bytes:
    """A file of the format `AVIF` or `WEBP`.

    Raises:
        ToolUnavailable: Pillow lacks the format.
        CodecError: Pillow fails.
    """
    check_format(name)
    stream = io.BytesIO()
    try:
        image.save(stream, name, **options)
    except PILLOW_FAILS as error:
        raise CodecError(f"Pillow cannot write {name} of this picture: {reason(error)}") from None
    return stream.getvalue()


def opened(data: bytes, name: str, shape: tuple[int, int, int]) -> Pixels:
    """The pixels of a file of the format `AVIF` or `WEBP` whose size is known.

    Args:
        data: a file that names the size of `shape`, so that no decoder reserves more memory.
        name: the format.
        shape: (H, W, C) with C 3 (RGB) or 4 (RGBA).

    Returns:
        uint8 [H, W, C].

    Raises:
        Corrupt: the file cannot be decoded or is of another size.
        ToolUnavailable: Pillow lacks the format.
    """
    check_format(name)
    height, width, channels = shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Not Image.open: its limit on pixels is a global, and the caller has checked the size.
            with PLUGINS[name](io.BytesIO(data)) as image:
                if image.size != (width, height):
                    raise Corrupt(
                        f"the part is a picture of {image.size} pixels, not {(width, height)}"
                    )
                return np.asarray(image.convert("RGB" if channels == 3 else "RGBA"))
    except PILLOW_FAILS as error:
        raise Corrupt(f"the {name} part of the file cannot be decoded: {reason(error)}") from None
