"""Samples of any mode to 8 bits: one rule for encoding, training, validation and benchmarks.

samples          black                  white
8 bits, 1 bit    0                      the largest sample
16 bits          0                      65535 (4095 where a TIFF says 12 bits)
32 bits          0                      255 or 65535, the first that no sample exceeds; else the
                                        largest sample
float            0, or the lowest       1 where no sample exceeds it; else 255 or 65535 where
                 if it is negative      samples are whole numbers up to 255 or reach a
                                        quarter of it; else the largest sample

CMYK goes through its profile where it has a usable one, else by Pillow's formula; LAB, HSV and
YCbCr by Pillow. A colour that a file declares transparent becomes alpha 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec import memory
from codec.io import colour

Bytes = NDArray[np.uint8]
GREY_MODES = ("1", "L", "LA", "La")
KEY_SCALE = {"L;2": 85, "L;4": 17}  # Pillow scales samples of 2 and 4 bits, not the transparent one
TWELVE_BITS = {"I;12": 4095.0}  # white of files that say 12 bits
LEAST_SHARE = 0.25  # of a full scale that the largest float sample must reach


@dataclass
class Samples:
    """The samples of a picture in 8 bits.

    Attributes:
        pixels: uint8 [H, W, 3].
        alpha: uint8 [H, W]; None for an opaque picture.
        grey: whether the picture is grey.
        notes: what was converted, one sentence each.
    """

    pixels: Bytes
    alpha: Bytes | None
    grey: bool
    notes: list[str]


def raw_mode(image: Image.Image) -> str:
    """How the file stores its samples, such as 'RGB;16B'; empty once they are decoded."""
    tile = getattr(image, "tile", None)
    if not tile:
        return ""
    arguments = tile[0][3]
    return str(arguments[0] if isinstance(arguments, (tuple, list)) and arguments else arguments)


def eight_bits(image: Image.Image, raw: str, icc: Any = None) -> Samples:
    """Convert a decoded picture of any mode.

    Args:
        image: of Pillow.
        raw: its `raw_mode` before it was decoded.
        icc: its profile, for CMYK.

    Returns:
        Samples in 8 bits.
    """
    if image.mode == "F" or image.mode.startswith("I"):
        return _deep(image, raw)
    notes = ["16-bit samples were converted to 8 bits"] if ";16" in raw else []
    image, alpha = _alpha(image, raw, notes)
    if image.mode == "CMYK":
        by_profile = colour.cmyk_to_srgb(image, icc)
        how = "" if by_profile is None else " by the picture's profile"
        notes.append(f"CMYK colours were converted to RGB{how}")
        image = image if by_profile is None else by_profile
    grey = image.mode in GREY_MODES
    return Samples(_pixels(image), alpha, grey, notes)


def _pixels(image: Image.Image) -> Bytes:
    """[H, W, 3], a band at a time: Pillow itself holds 4 bytes a pixel."""
    pixels = memory.empty((image.height, image.width, 3), np.uint8)
    for band in memory.bands(image.height, 3 * image.width):
        whole = band == slice(0, image.height)
        part = image if whole else image.crop((0, band.start, image.width, band.stop))
        pixels[band] = np.asarray(part if part.mode == "RGB" else part.convert("RGB"))
        memory.release(pixels)
    return pixels


def _alpha(image: Image.Image, raw: str, notes: list[str]) -> tuple[Image.Image, Bytes | None]:
    """Split off alpha: (the picture in a mode that converts to RGB, alpha, or None if opaque)."""
    key = image.info.get("transparency")
    straight = {"La": "LA", "RGBa": "RGBA"}.get(image.mode)
    if straight is not None:
        image = image.convert(straight)
    alpha: Bytes | None = None
    if key is not None and image.mode in ("1", "L", "RGB"):
        alpha = _keyed(np.asarray(image), key, raw, notes)
    elif image.has_transparency_data:
        try:
            image = image.convert("RGBA") if image.mode not in ("LA", "RGBA") else image
            alpha = np.asarray(image.getchannel("A"))
        except (ValueError, TypeError, LookupError, OSError):
            notes.append(
                "the transparent colour was dropped: it does not fit the picture's samples"
            )
            image = _without_key(image)
    return image, None if alpha is None or alpha.min() == 255 else alpha


def _without_key(image: Image.Image) -> Image.Image:
    bare = image.copy()
    bare.info = {name: value for name, value in image.info.items() if name != "transparency"}
    return bare


def _keyed(values: NDArray[Any], key: Any, raw: str, notes: list[str]) -> Bytes | None:
    """Alpha 0 where samples equal the transparent ones, which PNG gives in its own bits."""
    try:
        samples = np.atleast_1d(np.asarray(key, np.int64))
    except (TypeError, ValueError, OverflowError):
        samples = np.zeros(0, np.int64)
    if samples.shape != values.shape[2:] and not (values.ndim == 2 and samples.shape == (1,)):
        notes.append("the transparent colour was dropped: it does not fit the picture's samples")
        return None
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * 255
        samples = np.where(samples > 0, 255, 0)
    # Pillow reads RGB of 16 bits as 8; the transparent colour still has 16.
    if ";16" in raw and values.dtype == np.uint8:
        samples = samples >> 8
    samples = samples * KEY_SCALE.get(raw, 1)
    same = values == samples.astype(values.dtype if values.dtype.kind == "f" else np.int64)
    return np.where(same if same.ndim == 2 else same.all(2), np.uint8(0), np.uint8(255))


def _deep(image: Image.Image, raw: str) -> Samples:
    """Convert grey samples of more than 8 bits."""
    values = np.asarray(image)
    notes: list[str] = []
    key = image.info.get("transparency")
    alpha = None if key is None else _keyed(values, key, raw, notes)
    black, white, note = _range(values, image.mode, raw)
    notes.append(note)
    pixels = memory.empty((*values.shape, 3), np.uint8)
    for band in memory.bands(len(values), 12 * values.shape[1]):
        # In float64, which holds 32-bit integers exactly.
        shares = (values[band].astype(np.float64) - black) / (white - black)
        shares = np.nan_to_num(shares, nan=0, posinf=1, neginf=0)
        pixels[band] = np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)[:, :, None]
        memory.release(pixels)
    return Samples(pixels, None if alpha is None or alpha.min() == 255 else alpha, True, notes)


def _range(values: NDArray[Any], mode: str, raw: str) -> tuple[float, float, str]:
    """The samples that become black and white, and a note that names them."""
    if mode.startswith("I;16"):
        white = TWELVE_BITS.get(raw, 65535.0)
        bits = "12" if raw in TWELVE_BITS else "16"
        return 0.0, white, f"{bits}-bit samples were converted to 8 bits"
    finite = values[np.isfinite(values)] if mode == "F" else values
    low = float(finite.min(initial=0))
    high = float(finite.max(initial=0))
    if mode == "F":
        white = _white_of_floats(finite, high)
        low = min(low, 0.0)
    else:
        white = next((full for full in (255.0, 65535.0) if high <= full), high)
        low = 0.0
    kind = "float" if mode == "F" else "16-bit" if ";16" in raw else "32-bit"
    note = f"{kind} samples were converted to 8 bits: {low:g} became black and {white:g} white"
    return low, white, note


def _white_of_floats(finite: NDArray[Any], high: float) -> float:
    if high <= 1:
        return 1.0
    if high <= 255 and bool((finite == np.rint(finite)).all()):
        return 255.0
    usual = (full for full in (255.0, 65535.0) if LEAST_SHARE * full <= high <= full)
    return next(usual, high)
