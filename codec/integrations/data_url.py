"""`.ctm` for servers with OpenAI's protocol, which receive pictures as data URLs.

::

    .ctm -> decoded, no metadata -> the size that its receiver sees -> WebP, JPEG or PNG -> base64
        \\-> format="ctm": the file itself, without location and maker notes ----------> base64
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, get_args

from PIL import Image

import codec
from codec.bitstream import container
from codec.bitstream.container import MEDIA_TYPE
from codec.errors import BadArgument, TargetTooSmall, Unreadable, only_codec_errors, sentence
from codec.integrations.receivers import ReceiverName, Size, fitted, receiver, scaled
from codec.io import colour, images
from codec.results import Level

Format = Literal["webp", "jpeg", "png", "ctm"]
FORMATS: tuple[str, ...] = get_args(Format)
OTHER_NAMES = {"jpg": "jpeg"}
# The quality without a limit of size, and the lowest one that a limit may lead to.
QUALITY = 85
LOWEST_QUALITY = 30
# If that is still too large, the picture is reduced a little more than the estimate says.
SAFETY = 0.95
SMALLEST_SIDE = 16


class DataUrl(str):
    """A data URL: a string with the size and the token cost of its picture.

    Attributes:
        size: width and height in pixels of the picture that is sent.
        tokens: the picture's cost by the published rule of the receiver; None if unknown.
    """

    __slots__ = ("size", "tokens")

    size: Size
    tokens: int | None

    def __new__(cls, text: str, size: Size, tokens: int | None) -> DataUrl:
        """Make a URL from its text."""
        url = super().__new__(cls, text)
        url.size = size
        url.tokens = tokens
        return url

    def __getnewargs__(self) -> tuple[str, Size, int | None]:  # type: ignore[override]
        return str(self), self.size, self.tokens


@only_codec_errors
def data_url(
    file: bytes | str | Path,
    format: Format = "webp",
    *,
    max_bytes: int | None = None,
    fit: ReceiverName | Size | None = None,
    level: Level = "pixels",
    device: str = "auto",
) -> DataUrl:
    """Turn a `.ctm` into a data URL, decoded with the weights that it names.

    No metadata is sent: neither location nor maker notes. Colours are sRGB. Transparency is kept
    by `webp` and `png`, and composed on white by `jpeg`.

    Args:
        file: a file's bytes or its path.
        format: what is sent: `webp` (quality 85), `jpeg` (quality 85), `png` (loses nothing), or
            `ctm`: the file itself, for servers that read it (codec.integrations.pillow).
        max_bytes: the largest length of the URL. Quality is lowered first, then the size.
        fit: who receives it: `claude`, `openai` or `gemini`; or a box (width, height). The picture
            is made as small as the receiver would make it.
        level: `pixels`, or `preview`: an eighth of the sides.
        device: where the file is decoded.

    Returns:
        The URL, with `size` and `tokens`.

    Raises:
        CodecError: the file is bad or cannot be read.
        BadArgument: an argument is unknown, or does not go with the format.
        TargetTooSmall: `max_bytes` cannot be kept.

    Examples:
        >>> import numpy as np
        >>> file = codec.load("tiny").encode(np.zeros((1080, 1920, 3), np.uint8))
        >>> url = data_url(file, fit="claude")
        >>> url.size, url.tokens
        ((1456, 819), 1560)
    """
    kind = _format(format)
    hosted = None if fit is None else receiver(fit)
    if level not in ("pixels", "preview"):
        raise BadArgument(f"level must be pixels or preview, not {level!r}")
    data = _bytes_of(file)
    if kind == "ctm":
        if fit is not None or level != "pixels":
            raise BadArgument("a .ctm is sent unchanged: omit fit and level, or choose webp")
        return _unchanged(data, max_bytes)
    cotam = codec.load_for(data, device=device)
    decoded = cotam.decode_full(data) if level == "pixels" else cotam.decode_preview(data)
    image = _plain(decoded.picture, kind)
    if fit is not None:
        image = _resized(image, fitted(image.size, fit))
    text, size = _written(image, kind, max_bytes)
    return DataUrl(text, size, None if hosted is None else hosted.tokens(size))


def _format(name: Any) -> str:
    """A format by its name or suffix. Raises BadArgument."""
    kind = str(name).lower().removeprefix(".")
    kind = OTHER_NAMES.get(kind, kind)
    if kind not in FORMATS:
        raise BadArgument(f"format must be one of {', '.join(FORMATS)}, not {name!r}")
    return kind


def _bytes_of(file: Any) -> bytes:
    if isinstance(file, (bytes, bytearray, memoryview)):
        return bytes(file)
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise Unreadable(sentence(error)) from error
    except TypeError:
        raise BadArgument(f"a file is bytes or a path, not a {type(file).__name__}") from None


def _unchanged(data: bytes, max_bytes: int | None) -> DataUrl:
    """The file without its EXIF, which may tell where and with what it was taken."""
    content = container.read(data)
    if container.EXTRA_EXIF in content.extras:
        kept = {key: value for key, value in content.extras.items() if key != container.EXTRA_EXIF}
        data = container.write(replace(content, extras=kept))
    text = _url(MEDIA_TYPE, data)
    if max_bytes is not None and len(text) > max_bytes:
        raise TargetTooSmall(
            f"the file needs a URL of {len(text)} bytes, more than {max_bytes}: "
            "encode it smaller, or choose webp"
        )
    return DataUrl(text, (content.width, content.height), None)


def _plain(picture: images.Picture, kind: str) -> Image.Image:
    """The pixels in sRGB, without metadata; composed on white where the format has no alpha."""
    if kind == "jpeg":
        return images.to_pil(images.Picture(images.shown(picture), grey=picture.grey))
    pixels = colour.to_srgb(picture.pixels, picture.icc)
    return images.to_pil(images.Picture(pixels, picture.alpha, picture.grey))


def _resized(image: Image.Image, size: Size) -> Image.Image:
    return image if size == image.size else image.resize(size, Image.Resampling.LANCZOS)


def _written(image: Image.Image, kind: str, max_bytes: int | None) -> tuple[str, Size]:
    """Write a picture as a URL; return it and the picture's size. Raises TargetTooSmall."""
    current = image
    while True:
        text = _best(current, kind, max_bytes)
        if max_bytes is None or len(text) <= max_bytes:
            return text, current.size
        if max(current.size) <= SMALLEST_SIDE:
            raise TargetTooSmall(
                f"no picture fits a URL of {max_bytes} bytes: the smallest has {len(text)}"
            )
        # Bytes grow about with the number of pixels. Never more than SAFETY^2 of a side at a time,
        # so that the loop ends.
        scale = SAFETY * min(SAFETY, math.sqrt(max_bytes / len(text)))
        smaller = scaled(current.size, scale)
        if max(smaller) < SMALLEST_SIDE:
            smaller = scaled(current.size, SMALLEST_SIDE / max(current.size))
        current = _resized(image, smaller)


def _best(image: Image.Image, kind: str, max_bytes: int | None) -> str:
    """A URL of the best quality that fits, or of the lowest quality if none fits."""
    text = _coded(image, kind, QUALITY)
    if kind == "png" or max_bytes is None or len(text) <= max_bytes:
        return text
    best = _coded(image, kind, LOWEST_QUALITY)
    low = LOWEST_QUALITY + 1
    high = QUALITY - 1
    while low <= high and len(best) <= max_bytes:
        middle = (low + high) // 2
        text = _coded(image, kind, middle)
        if len(text) <= max_bytes:
            best = text
            low = middle + 1
        else:
            high = middle - 1
    return best


def _coded(image: Image.Image, kind: str, quality: int) -> str:
    stream = io.BytesIO()
    options: dict[str, Any] = {"optimize": True} if kind == "png" else {"quality": quality}
    image.save(stream, kind.upper(), **options)
    return _url(f"image/{kind}", stream.getvalue())


def _url(media_type: str, data: bytes) -> str:
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
