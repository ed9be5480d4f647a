"""Colour profiles: convert pixels to sRGB, as a browser shows them."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec import memory

Bytes = NDArray[np.uint8]
# ICC.1:2022, 7.2: the header's length, its signature and the place of the colour space.
HEADER_BYTES = 128
SIGNATURE = slice(36, 40)
SPACE = slice(16, 20)
# Levels, 0..255: a profile that differs from sRGB by at most this is sRGB, rounded differently.
SAME = 3
STEPS = 9  # of each channel, at which a profile is compared with sRGB


def is_sound(icc: Any, space: bytes = b"RGB ") -> bool:
    """Check header, signature and length of a colour profile.

    Args:
        icc: the profile.
        space: the colour space that it must describe, four bytes.

    Returns:
        Whether it looks usable.
    """
    return (
        isinstance(icc, bytes)
        and len(icc) > HEADER_BYTES
        and icc[SIGNATURE] == b"acsp"
        and icc[SPACE] == space
        and int.from_bytes(icc[:4], "big") <= len(icc)
    )


def to_srgb(pixels: Bytes, icc: bytes | None) -> Bytes:
    """Convert pixels to sRGB by Little CMS, with perceptual intent as in browsers.

    Args:
        pixels: uint8 [H, W, 3].
        icc: their profile, if they have one.

    Returns:
        uint8 [H, W, 3]; the same array if the profile is sRGB, missing or unusable, or if Pillow
        was built without Little CMS.
    """
    transform = None if not icc else _transform(icc)
    if transform is None:
        return pixels
    out: Bytes = memory.empty(pixels.shape, np.uint8)
    for band in memory.bands(len(pixels), 3 * pixels.shape[1]):
        out[band] = _applied(transform, np.ascontiguousarray(pixels[band]))
        memory.release(out)
    return out


def cmyk_to_srgb(image: Image.Image, icc: Any) -> Image.Image | None:
    """Convert a CMYK picture by its own profile; None if that is not usable."""
    if not is_sound(icc, b"CMYK"):
        return None
    try:
        from PIL import ImageCms

        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return ImageCms.profileToProfile(
            image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (ImportError, OSError, ValueError, _cms_error()):
        return None


def _cms_error() -> type[Exception]:
    try:
        from PIL.ImageCms import PyCMSError

        return PyCMSError
    except ImportError:
        return ImportError


@lru_cache(maxsize=8)
def _transform(icc: bytes) -> Any:
    """Little CMS's transform from a profile to sRGB; None if it changes nothing or is unusable."""
    if not is_sound(icc):
        return None
    try:
        from PIL import ImageCms

        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), "RGB", "RGB")
        steps = np.linspace(0, 255, STEPS).round().astype(np.uint8)
        grid = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(STEPS, -1, 3)
        moved = np.abs(_applied(transform, grid).astype(int) - grid).max()
    except (ImportError, OSError, ValueError, _cms_error()):
        return None
    return transform if moved > SAME else None


def _applied(transform: Any, pixels: Bytes) -> Bytes:
    from PIL import ImageCms

    changed = ImageCms.applyTransform(Image.fromarray(pixels), transform)
    assert changed is not None
    return np.asarray(changed)
