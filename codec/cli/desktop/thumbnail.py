"""A thumbnail of a .ctm file, from its preview where that is large enough."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import codec
from codec.bitstream import container
from codec.coding.pipeline import PREVIEW
from codec.integrations.receivers import within
from codec.io import colour, images, resize
from codec.tools.names import LEARNED, NUMBERS

# A preview of at least this share of the thumbnail's side is enlarged by the desktop.
LEAST_SHARE = 0.5
# Larger pictures are not decoded for a thumbnail.
LIMIT_PIXELS = 1 << 26


def thumbnail(path: Path, side: int) -> images.Picture:
    """Decode a picture to fit a square.

    The preview of a photograph, an eighth of the sides, is decoded alone where it has at least half
    the side of the thumbnail. Other files are decoded whole: smaller photographs, and files of
    tools without a preview layer.

    Args:
        path: a .ctm file.
        side: of the square, in pixels.

    Returns:
        The picture in sRGB, never enlarged, without metadata.

    Raises:
        CodecError: the file is bad, or its weights are missing.
        OSError: it cannot be read.
    """
    data = path.read_bytes()
    content = container.read(data, LIMIT_PIXELS)
    cotam = codec.load_for(data)
    enough = max(content.width, content.height) >= PREVIEW * side * LEAST_SHARE
    layered = content.tool == NUMBERS[LEARNED]
    decoded = cotam.decode_preview(data) if layered and enough else cotam.decode_full(data)
    picture = decoded.picture
    pixels = colour.to_srgb(picture.pixels, picture.icc)
    plain = replace(picture, pixels=pixels, icc=None, exif=None)
    height, width = pixels.shape[:2]
    return resize.resized(plain, within((width, height), (side, side)), LIMIT_PIXELS)
