"""Pictures in and out, by Pillow: files and arrays become a `Picture`, and back.

::

    path, bytes, stream, {"bytes": ...} -> formats -> PIL image -+-> samples -> pixels, alpha, grey
                                              PIL image ---------+-> exif, colour -> sound ones
    uint8 [H, W, 3], float [3, H, W] ------> from_array -> pixels
    Picture -> to_pil -> save;  Picture -> shown: sRGB on a background, as a person or a tower sees
    it
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from typing import IO, Any, TypeVar, Union

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from codec import forks, memory
from codec.bitstream.container import MAGIC
from codec.errors import (
    BadArgument,
    BadPicture,
    CodecError,
    Corrupt,
    TooLarge,
    Unreadable,
    reason,
    sentence,
)
from codec.io import colour, compose, formats, png, samples
from codec.io import exif as exif_data
from codec.io.exif import ORIENTATION as ORIENTATION

Source = Union[str, bytes, "os.PathLike[Any]", IO[bytes]]
T = TypeVar("T")
# Errors that Pillow raises for hostile bytes, beside OSError.
PILLOW_FAILS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
# TIFF 6.0, section 8, and EXIF 2.32, 4.6.4: orientation -> what makes the stored rows upright.
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PILLOW = forks.Lock()


@dataclass
class Picture:
    """A picture in the form in which it is coded.

    Attributes:
        pixels: uint8 [H, W, 3].
        alpha: uint8 [H, W]; None for an opaque picture.
        grey: whether the source is grey.
        icc: an RGB profile.
        exif: without orientation and without odd values.
        notes: what was changed on the way, one sentence each.
    """

    pixels: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None
    grey: bool = False
    icc: bytes | None = None
    exif: bytes | None = None
    notes: list[str] = field(default_factory=list)


def from_any(source: Any, limit_pixels: int) -> Picture:
    """Read a picture from any kind of source.

    Args:
        source: a `Picture`, a PIL image, a path, bytes, a binary stream, an array, or a row of a
            Hugging Face data set, {"bytes": ..., "path": ...}.
        limit_pixels: larger pictures are refused.

    Returns:
        The picture.

    Raises:
        BadArgument: the source is of another kind.
        BadPicture: it cannot be decoded.
        TooLarge: it has more pixels.
        Unreadable: the file cannot be opened.
    """
    if isinstance(source, Picture):
        return _checked(source)
    if isinstance(source, Image.Image):
        return from_pil(source, limit_pixels)
    if isinstance(source, Mapping):
        inner = source.get("bytes") if source.get("bytes") is not None else source.get("path")
        if not isinstance(inner, (bytes, bytearray, memoryview, str, os.PathLike)):
            raise BadArgument("a row of pictures must have 'bytes' or a 'path'")
        return load(inner, limit_pixels)
    if isinstance(source, (str, bytes, bytearray, memoryview, os.PathLike)):
        return load(source, limit_pixels)
    if hasattr(source, "read"):
        return load(source, limit_pixels)
    picture = from_array(source)
    if picture.pixels.shape[0] * picture.pixels.shape[1] > limit_pixels:
        raise TooLarge(f"the picture has more than {limit_pixels} pixels")
    return picture


def _checked(picture: Picture) -> Picture:
    """Check that the fields fit together. Raises BadArgument."""
    pixels = picture.pixels
    sound = isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 3
    if not sound or pixels.shape[2] != 3 or not pixels.size:
        raise BadArgument("a Picture's pixels must be uint8 [H, W, 3] with at least one pixel")
    alpha = picture.alpha
    if alpha is not None and not (
        isinstance(alpha, np.ndarray)
        and alpha.dtype == np.uint8
        and alpha.shape == pixels.shape[:2]
    ):
        raise BadArgument("a Picture's alpha must be uint8 [H, W], as large as its pixels")
    return picture


def load(source: Any, limit_pixels: int) -> Picture:
    """Read a picture from a path, bytes or a binary stream.

    Args:
        source: where it is.
        limit_pixels: larger pictures are refused.

    Returns:
        The picture.

    Raises:
        BadPicture: it cannot be decoded.
        TooLarge: it has more pixels.
        Unreadable: the file cannot be opened.
    """
    if isinstance(source, (str, os.PathLike)):
        try:
            file = open(source, "rb")  # noqa: SIM115
        except OSError as error:
            raise Unreadable(sentence(error)) from error
        except ValueError as error:
            raise BadArgument(f"this is not a valid file name: {reason(error)}") from None
        with file:
            return load(file, limit_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return load(io.BytesIO(source), limit_pixels)
    try:
        stream = source if source.seekable() else io.BytesIO(source.read())
    except (OSError, *PILLOW_FAILS) as error:
        raise BadPicture(f"the picture cannot be read: {reason(error)}") from None
    return _beyond_pillows_limit(limit_pixels, lambda: _read(stream, limit_pixels))


def _read(stream: IO[bytes], limit_pixels: int) -> Picture:
    try:
        with formats.open_picture(stream) as image:
            return _from_pil(image, limit_pixels, None)
    except CodecError:
        raise
    except UnidentifiedImageError:
        raise BadPicture(_no_picture(stream)) from None
    except (OSError, *PILLOW_FAILS) as error:
        raise BadPicture(f"the picture cannot be decoded: {reason(error)}") from None


def _no_picture(stream: IO[bytes]) -> str:
    """The error for bytes that are in none of the known formats."""
    try:
        stream.seek(0)
        start = stream.read(16)
    except (OSError, *PILLOW_FAILS):
        start = b""
    if not start:
        return "the file is empty"
    if start.startswith(MAGIC):
        return "this is a CoTAM file already; decode it first"
    if start.startswith((b"%!PS", b"\xc5\xd0\xd3\xc6")):
        return "this is PostScript, which only an external program could draw; convert it to PNG"
    return "this is not a picture in a format that is read here (PNG, JPEG, WebP, TIFF, ...)"


def _beyond_pillows_limit(pixels: int, read: Callable[[], T]) -> T:
    """Call `read`; if Pillow refuses the picture's size, call it again with a higher limit.

    Pillow's limit is a global variable that its plugins also read, so it is raised for one picture
    at a time.

    Args:
        pixels: the limit.
        read: reads the picture.

    Returns:
        The result of `read`.

    Raises:
        TooLarge: the picture has more pixels.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read()
        except Image.DecompressionBombError:
            pass
        with _PILLOW:
            before = Image.MAX_IMAGE_PIXELS
            if before is not None:  # Pillow refuses what has more than twice as many
                Image.MAX_IMAGE_PIXELS = max(before, (pixels + 1) // 2)
            try:
                return read()
            except Image.DecompressionBombError:
                raise TooLarge(
                    f"the picture has more than {pixels} pixels, the limit (raise limit_pixels)"
                ) from None
            finally:
                Image.MAX_IMAGE_PIXELS = before


def from_pil(image: Image.Image, limit_pixels: int, exif: Any = None) -> Picture:
    """Convert the current frame of a PIL image: upright, 8 bits a sample.

    Args:
        image: of Pillow.
        limit_pixels: larger images are refused.
        exif: bytes or Pillow's object, used instead of the image's EXIF.

    Returns:
        The picture.

    Raises:
        TooLarge: it has more pixels; none has been decoded.
        BadPicture: it cannot be decoded, or has no pixels.
    """
    try:
        return _beyond_pillows_limit(limit_pixels, lambda: _from_pil(image, limit_pixels, exif))
    except CodecError:
        raise
    except (OSError, *PILLOW_FAILS) as error:
        raise BadPicture(f"the picture cannot be decoded: {reason(error)}") from None


def _from_pil(image: Image.Image, limit_pixels: int, exif: Any) -> Picture:
    _check_size(image, limit_pixels)
    # Read before `load`, which discards the raw mode.
    raw = samples.raw_mode(image)
    if raw and image.format in formats.REFUSED:
        raise BadPicture(
            f"{image.format} is not supported, because decoding it needs an external program"
        )
    image.load()
    stored = exif_data.of_image(image)
    replacement = exif_data.opened(exif)
    # Replacing EXIF without an orientation leaves the image's own one in force.
    turned_by = stored
    if replacement is not None and exif_data.ORIENTATION in replacement:
        turned_by = replacement
    turn = TURNS.get(exif_data.orientation(turned_by))
    upright = image if turn is None else image.transpose(turn)
    profile = image.info.get("icc_profile")
    planes = samples.eight_bits(upright, raw, profile)
    kept, notes = exif_data.sound(stored if exif is None else replacement)
    icc = _profile(profile, image.mode, planes, notes)
    everything = [*_parts(image), *planes.notes, *notes]
    return Picture(planes.pixels, planes.alpha, planes.grey, icc, kept, everything)


def _check_size(image: Image.Image, limit_pixels: int) -> None:
    if not (image.width and image.height):
        raise BadPicture(f"the picture has no pixels ({image.width}x{image.height})")
    if image.width * image.height > limit_pixels:
        raise TooLarge(
            f"the picture has {image.width}x{image.height} pixels; the limit is {limit_pixels} "
            "(raise limit_pixels)"
        )


def _profile(icc: Any, mode: str, planes: samples.Samples, notes: list[str]) -> bytes | None:
    """The profile to keep; one that is too large is applied to the pixels instead."""
    if not icc or mode == "CMYK":
        return None
    if not colour.is_sound(icc) or mode == "LAB":
        notes.append("the colour profile was dropped: it does not describe RGB samples")
        return None
    if len(icc) <= exif_data.LIMIT_BYTES:
        return bytes(icc)
    planes.pixels = colour.to_srgb(planes.pixels, icc)
    notes.append(
        f"the colour profile of {len(icc)} bytes was applied and dropped: at most 64 KB are kept"
    )
    return None


def _parts(image: Image.Image) -> list[str]:
    """A note on a file of several pictures. Called last, because counting moves Pillow's file."""
    try:
        count = int(getattr(image, "n_frames", 1))
        at = int(image.tell())
    except (OSError, *PILLOW_FAILS):
        return ["the pictures of this file cannot be counted; the first was kept"]
    if count < 2 or image.format == "PSD":
        return []
    which = "the first" if at == 0 else f"number {at + 1}"
    kind = formats.PARTS.get(str(image.format))
    if kind is not None:
        return [f"the file holds {count} {kind}: only {which} was kept"]
    return [f"animated input: only {which} of {count} frames was kept"]


def from_array(array: Any) -> Picture:
    """Convert an array or tensor.

    Args:
        array: uint8 [H, W, 3] or [H, W], or float [3, H, W] in 0..1.

    Returns:
        The picture.

    Raises:
        BadArgument: it has another type, shape or range, or no pixels.
    """
    values = _values(array)
    if values.dtype == np.uint8 and values.ndim == 2 and values.size:
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
    kind = type(array).__name__ if values.dtype == object or not values.ndim else "array"
    empty = "" if values.size or values.dtype == object else "; this one has no pixels"
    raise BadArgument(
        "a picture must be a PIL image, a path, a file's bytes, uint8 [H, W, 3] or float [3, H, W] "
        f"in 0..1, not {kind} {values.dtype} {list(values.shape)}{empty}"
    )


def _values(array: Any) -> NDArray[Any]:
    try:
        if hasattr(array, "detach"):
            array = array.detach().cpu()
            array = (array.float() if array.is_floating_point() else array).numpy()
        return np.asarray(array)
    except Exception as error:  # any object may come here and raise anything
        raise BadArgument(
            f"a picture cannot be made of this {type(array).__name__}: {reason(error)}"
        ) from None


def shown(picture: Picture, background: Any = compose.WHITE) -> NDArray[np.uint8]:
    """Convert a picture to what a person or a tower sees.

    Args:
        picture: the picture.
        background: what transparent pixels are composed on: the name of a colour or (red, green,
            blue).

    Returns:
        uint8 [H, W, 3] in sRGB.

    Raises:
        BadArgument: the background is no colour.
    """
    pixels = colour.to_srgb(picture.pixels, picture.icc)
    return compose.on_background(pixels, picture.alpha, background)


def read_shown(source: Any, limit_pixels: int) -> NDArray[np.uint8]:
    """Read pixels [H, W, 3] as training, validation and benchmarks do: `shown` of `from_any`."""
    return shown(from_any(source, limit_pixels))


def on_background(image: Image.Image, background: Any = compose.WHITE) -> Image.Image:
    """Compose a PIL image on a background, if it has transparency."""
    if not image.has_transparency_data:
        return image
    whole = samples.eight_bits(image, "")
    flat = Image.fromarray(compose.on_background(whole.pixels, whole.alpha, background))
    ground = compose.colour_of(background)
    return flat.convert("L") if whole.grey and len(set(ground)) == 1 else flat


def to_pil(picture: Picture) -> Image.Image:
    """Convert to a PIL image, with profile and EXIF in `.info`, where Pillow's save finds them."""
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
    """Reduce a picture by averaging; EXIF is left out.

    Args:
        picture: the picture.
        factor: what its sides are divided by, rounded up.
        already: names of planes that have the reduced size.

    Returns:
        The small picture.
    """

    def smaller(name: str) -> Any:
        plane = getattr(picture, name)
        return (
            plane
            if plane is None or name in already
            else np.asarray(Image.fromarray(plane).reduce(factor))
        )

    return replace(picture, pixels=smaller("pixels"), alpha=smaller("alpha"), exif=None)


def save(
    picture: Picture | Image.Image,
    stream: IO[bytes],
    suffix: str,
    quality: int | None = None,
    background: Any = compose.WHITE,
    subsampling: str | None = None,
) -> list[str]:
    """Write a picture file.

    Args:
        picture: the picture.
        stream: where to write.
        suffix: names the format, such as '.png'.
        quality: 0..100 for .jpg, .webp and .avif. Default: visually lossless.
        background: what transparent pixels are composed on if the format has no alpha.
        subsampling: `4:4:4`, `4:2:2` or `4:2:0` for .jpg and .avif. Default: 4:4:4.

    Returns:
        Notes on metadata that was left out.

    Raises:
        BadArgument: an option is unknown, out of range, or does not suit the format.
        OSError: the stream cannot be written.
    """
    ground = compose.colour_of(background)
    kind = formats.written_format(suffix)
    if kind is None:
        raise BadArgument(
            f"pictures cannot be written as '{suffix}'; use .png, .jpg, .webp or .tif"
        )
    options = formats.writing_options(kind, suffix, quality, subsampling)
    if kind == "PNG":
        # A third of the time of Pillow's default, and 2 % smaller for a photograph of 768x512.
        options["compress_level"] = png.LEVEL
    large = isinstance(picture, Picture) and picture.pixels.nbytes >= memory.SPILL_BYTES
    if large and kind == "PNG":
        assert isinstance(picture, Picture)
        _save_large(picture, stream)
        return []
    image = to_pil(picture) if isinstance(picture, Picture) else _straight(picture)
    image = image if _holds_alpha(kind, image) else on_background(image, ground)
    return _saved(image, stream, kind, suffix, options)


def _straight(image: Image.Image) -> Image.Image:
    """A copy whose transparency, if any, is a channel."""
    if image.has_transparency_data and image.mode not in ("LA", "RGBA"):
        return to_pil(from_pil(image, image.width * image.height))
    return image.copy()


def _holds_alpha(kind: str, image: Image.Image) -> bool:
    """Whether a format keeps this picture's alpha; a GIF's is all or nothing."""
    if kind != "GIF" or image.mode not in ("LA", "RGBA"):
        return kind in formats.WITH_ALPHA
    return set(np.unique(np.asarray(image.getchannel("A"))).tolist()) <= {0, 255}


class _Plain:
    """A stream without a file number, so that Pillow uses `write`, whose errors say more."""

    def __init__(self, stream: IO[bytes]) -> None:
        for name in ("write", "seek", "tell", "flush", "read"):
            setattr(self, name, getattr(stream, name, None))

    def fileno(self) -> int:
        """Raise the error that a stream in memory raises."""
        raise io.UnsupportedOperation("fileno")


def _saved(
    image: Image.Image, stream: IO[bytes], kind: str, suffix: str, options: dict[str, Any]
) -> list[str]:
    """Write in the plainest mode, and with as much metadata, as the format takes."""
    icc = image.info.get("icc_profile")
    exif = image.info.get("exif")
    image.info = {}
    start = stream.tell()
    failure: BaseException | None = None
    # The attempts: as it is; in RGB; without EXIF; without EXIF and profile.
    for attempt in range(4):
        if attempt == 1:
            image = image.convert("RGBA" if image.mode in ("LA", "RGBA") else "RGB")
        profile = icc if attempt < 3 else None
        data = exif if attempt < 2 else None
        settings = options | ({"exif": data} if data else {})
        stream.seek(start)
        stream.truncate()
        try:
            image.save(_Plain(stream), kind, icc_profile=profile, **settings)  # type: ignore[arg-type]
        except (OSError, *PILLOW_FAILS) as error:
            if isinstance(error, OSError) and error.errno:
                # An error of the system, such as a full disk: no other mode would help.
                raise
            failure = failure or error
            continue
        return _lost(suffix, bool(icc) > bool(profile), bool(exif) > bool(data))
    assert failure is not None
    raise BadArgument(f"this picture cannot be written as '{suffix}': {reason(failure)}") from None


def _lost(suffix: str, icc: bool, exif: bool) -> list[str]:
    """A note on the metadata that a format could not take."""
    names = [name for name, lost in (("colour profile", icc), ("EXIF data", exif)) if lost]
    if not names:
        return []
    return [f"{' and '.join(names)} left out: {suffix} cannot hold what the file has"]


def _save_large(picture: Picture, stream: IO[bytes]) -> None:
    """Write a PNG a band at a time; Pillow would need another 4 bytes a pixel."""
    height, width = picture.pixels.shape[:2]

    def rows() -> Iterator[NDArray[np.uint8]]:
        for band in memory.bands(height, 3 * width):
            alpha = None if picture.alpha is None else picture.alpha[band]
            yield np.asarray(to_pil(Picture(picture.pixels[band], alpha, picture.grey)))
            memory.release(picture.pixels)

    channels = (1 if picture.grey else 3) + (picture.alpha is not None)
    png.write(stream, (height, width, channels), rows(), picture.icc, picture.exif)


def pack_alpha(alpha: NDArray[np.uint8]) -> bytes:
    """Pack alpha [H, W] as a one-channel PNG."""
    stream = io.BytesIO()
    Image.fromarray(alpha).save(stream, "PNG", optimize=True)
    return stream.getvalue()


def unpack_alpha(data: bytes, width: int, height: int) -> NDArray[np.uint8]:
    """Unpack alpha [height, width]. Raises Corrupt; another size is refused before decoding."""

    def read() -> NDArray[np.uint8] | None:
        with formats.open_picture(io.BytesIO(data), ["PNG"]) as image:
            sound = image.size == (width, height) and image.mode in ("L", "1")
            return np.asarray(image.convert("L")) if sound else None

    try:
        alpha = _beyond_pillows_limit(width * height, read)
    except (OSError, TooLarge, *PILLOW_FAILS):
        alpha = None
    if alpha is None:
        raise Corrupt("the file's alpha section is damaged")
    return alpha
