"""Pictures in and out, by Pillow: orientation, alpha, grey, palette, 16 bit, profiles, limits."""

from __future__ import annotations

import io
import struct
import threading
import warnings
import zlib
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from codec import memory
from codec.errors import BadArgument, BadPicture, Corrupt, TooLarge, reason
from codec.io import png

ORIENTATION = 0x0112
Source = str | Path | bytes | IO[bytes]
T = TypeVar("T")
# What Pillow raises over hostile bytes, beside OSError.
PILLOW_FAILS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_PILLOW = threading.Lock()


@dataclass
class Picture:
    """pixels: uint8 [H, W, 3]; alpha: uint8 [H, W] or None; grey: the source had no colour; notes: what was changed on the way."""

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    notes: list[str] = field(default_factory=list)


def load(source: Source, limit_pixels: int) -> Picture:
    """A picture from a path, bytes or a binary stream. Raises BadPicture or TooLarge; OSError where a file cannot be opened."""
    if isinstance(source, (str, Path)):
        with open(source, "rb") as file:
            return load(file, limit_pixels)
    stream = io.BytesIO(source) if isinstance(source, bytes) else source
    return _beyond_pillows_limit(limit_pixels, lambda: _read(stream, limit_pixels))


def _read(stream: IO[bytes], limit_pixels: int) -> Picture:
    try:
        with Image.open(stream) as image:
            return from_pil(image, limit_pixels)
    except UnidentifiedImageError:
        raise BadPicture("this is not a picture in a format that Pillow reads") from None
    except (OSError, *PILLOW_FAILS) as error:
        raise BadPicture(f"the picture cannot be decoded: {reason(error)}") from None


def _beyond_pillows_limit(pixels: int, read: Callable[[], T]) -> T:
    """What `read` gives. Pillow's own limit, a global that its plugins read, too, is raised for one picture at a time and only
    where it refuses one. Raises TooLarge for more than `pixels`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            return read()
        except Image.DecompressionBombError:
            pass
        with _PILLOW:
            own = Image.MAX_IMAGE_PIXELS
            if own is not None:
                Image.MAX_IMAGE_PIXELS = max(
                    own, (pixels + 1) // 2
                )  # Pillow refuses what has more than twice as many
            try:
                return read()
            except Image.DecompressionBombError:
                raise TooLarge(
                    f"the picture has more than {pixels} pixels, the limit (raise it with --limit-pixels)"
                ) from None
            finally:
                Image.MAX_IMAGE_PIXELS = own


def from_pil(image: Image.Image, limit_pixels: int) -> Picture:
    """Orientation applied, first frame, 8 bits a sample. Raises TooLarge before any pixel is decoded."""
    if image.width * image.height > limit_pixels:
        raise TooLarge(
            f"the picture has {image.width}x{image.height} pixels; the limit is {limit_pixels} (raise it with --limit-pixels)"
        )
    notes = []
    if getattr(image, "n_frames", 1) > 1:
        notes.append(f"animated input: only the first of {image.n_frames} frames was kept")  # type: ignore[attr-defined]
    if _has_16_bits(image):
        notes.append("16-bit samples were converted to 8 bits")
    icc = image.info.get("icc_profile")
    exif = Image.Exif()
    exif.load(image.getexif().tobytes())
    eight = _to_8_bits(ImageOps.exif_transpose(image) if exif.pop(ORIENTATION, 1) != 1 else image)
    grey = eight.mode in ("1", "L", "LA", "La")
    alpha = None
    if eight.has_transparency_data:
        eight = eight.convert("RGBA")
        alpha = np.asarray(eight.getchannel("A"))
    if icc and (icc[16:20] != b"RGB " or image.mode in ("CMYK", "YCCK", "LAB")):
        icc = None
        notes.append("the colour profile was dropped: it does not describe RGB samples")
    pixels = _pixels(eight)
    return Picture(pixels, alpha, grey, icc or None, exif.tobytes() if len(exif) else None, notes)


def _pixels(image: Image.Image) -> NDArray[np.uint8]:
    """[H, W, 3], a band at a time: Pillow itself holds 4 bytes a pixel."""
    pixels = memory.empty((image.height, image.width, 3), np.uint8)
    image.load()
    for band in memory.bands(image.height, 3 * image.width):
        part = (
            image.crop((0, band.start, image.width, band.stop))
            if band != slice(0, image.height)
            else image
        )
        pixels[band] = np.asarray(part if part.mode == "RGB" else part.convert("RGB"))
        memory.release(pixels)
    return pixels


def _has_16_bits(image: Image.Image) -> bool:
    tile = getattr(image, "tile", None)
    raw = str(tile[0][3]) if tile else ""
    return image.mode.startswith("I") or image.mode == "F" or ";16" in raw


def _to_8_bits(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float samples to 8 bits: 65535 (or 1.0) becomes 255."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    full = (
        1.0
        if image.mode == "F" and values.max(initial=0) <= 1
        else 255.0
        if image.mode == "F"
        else 65535.0
    )
    return Image.fromarray(np.rint(np.clip(values / full, 0, 1) * 255).astype(np.uint8))


def from_array(array: Any) -> Picture:
    """uint8 [H, W, 3] or [H, W], or a float tensor or array [3, H, W] in 0..1. Raises BadArgument for anything else."""
    if hasattr(array, "detach"):
        array = (
            array.detach().cpu().float().numpy()
            if array.is_floating_point()
            else array.detach().cpu().numpy()
        )
    values = np.asarray(array)
    if values.dtype == np.uint8 and values.ndim == 2:
        return Picture(np.repeat(values[:, :, None], 3, 2), grey=True)
    if values.dtype == np.uint8 and values.ndim == 3 and values.shape[2] == 3 and values.size:
        return Picture(np.ascontiguousarray(values))
    if (
        np.issubdtype(values.dtype, np.floating)
        and values.ndim == 3
        and values.shape[0] == 3
        and values.size
    ):
        if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
            raise BadArgument("a float picture must hold values from 0 to 1")
        return Picture(
            np.ascontiguousarray(np.rint(values * 255).astype(np.uint8).transpose(1, 2, 0))
        )
    raise BadArgument(
        f"a picture must be uint8 [H, W, 3] or float [3, H, W] in 0..1, not {values.dtype} {list(values.shape)}"
    )


def to_pil(picture: Picture) -> Image.Image:
    """The inverse of `from_pil`, with profile and EXIF in `.info`, so that Pillow's save writes them."""
    image = Image.fromarray(picture.pixels)
    if picture.grey:
        image = image.convert("L")
    if picture.alpha is not None:
        image.putalpha(Image.fromarray(picture.alpha))
    if picture.icc:
        image.info["icc_profile"] = picture.icc
    if picture.exif:
        image.info["exif"] = picture.exif
    return image


def reduced(picture: Picture, factor: int, already: Set[str] = frozenset()) -> Picture:
    """Sides divided by `factor`, rounded up, by averaging; `already` names planes that have that size. EXIF is left out."""

    def smaller(name: str) -> Any:
        plane = getattr(picture, name)
        return (
            plane
            if plane is None or name in already
            else np.asarray(Image.fromarray(plane).reduce(factor))
        )

    return replace(picture, pixels=smaller("pixels"), alpha=smaller("alpha"), exif=None)


def save(picture: Picture | Image.Image, stream: IO[bytes], suffix: str) -> None:
    """Write in the format of a suffix such as '.png'. Raises BadArgument for a suffix Pillow cannot write."""
    kind = Image.registered_extensions().get(suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise BadArgument(
            f"pictures cannot be written as '{suffix}'; use .png, .jpg, .webp or .tif"
        )
    if (
        isinstance(picture, Picture)
        and kind == "PNG"
        and picture.pixels.nbytes >= memory.SPILL_BYTES
    ):
        _save_large(picture, stream)
        return
    image = to_pil(picture) if isinstance(picture, Picture) else picture
    if kind == "JPEG" and image.mode in ("RGBA", "LA"):
        image = image.convert("L" if image.mode == "LA" else "RGB")
    options = {"exif": image.info["exif"]} if "exif" in image.info else {}
    try:
        image.save(stream, kind, icc_profile=image.info.get("icc_profile"), **options)
    except PILLOW_FAILS as error:
        raise BadArgument(
            f"this picture cannot be written as '{suffix}': {reason(error)}"
        ) from None


def _save_large(picture: Picture, stream: IO[bytes]) -> None:
    """A PNG, a band at a time: Pillow would take another 4 bytes a pixel."""
    height, width = picture.pixels.shape[:2]

    def rows() -> Iterator[NDArray[np.uint8]]:
        for band in memory.bands(height, 3 * width):
            alpha = None if picture.alpha is None else picture.alpha[band]
            yield np.asarray(to_pil(Picture(picture.pixels[band], alpha, picture.grey)))
            memory.release(picture.pixels)

    channels = (1 if picture.grey else 3) + (picture.alpha is not None)
    png.write(stream, (height, width, channels), rows(), picture.icc, picture.exif)


def pack_alpha(alpha: NDArray[np.uint8]) -> bytes:
    """Lossless, as a one-channel PNG."""
    stream = io.BytesIO()
    Image.fromarray(alpha).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def unpack_alpha(data: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """The inverse. Raises Corrupt, before decoding where the size differs."""

    def read() -> NDArray[np.uint8] | None:
        with Image.open(io.BytesIO(data), formats=("PNG",)) as image:
            return (
                np.asarray(image.convert("L"))
                if image.size == (width, height) and image.mode in ("L", "1")
                else None
            )

    try:
        alpha = _beyond_pillows_limit(width * height, read)
    except (OSError, TooLarge, *PILLOW_FAILS):
        alpha = None
    if alpha is None:
        raise Corrupt("the file's alpha section is damaged")
    return alpha
