"""A picture from the one before and a message: copies first, then new pixels over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import FINGERPRINT_BYTES
from codec.stream.shown import Shown
from codec.tools import changes, patch
from codec.tools.changes import Changes, Copy, Rectangle
from codec.tools.mixed import PhotographTool
from codec.tools.regions import paste
from codec.tools.registry import tool_numbered

Pixels = NDArray[np.uint8]
T = TypeVar("T", bound=np.generic)


def moved(pixels: NDArray[T], copies: Sequence[Copy]) -> NDArray[T]:
    """A picture after the copies, which all read the picture before; a new array.

    Args:
        pixels: uint8 [H, W, 3], or uint32 [H, W] with red, green and blue from the lowest byte on.
        copies: in their order.
    """
    out = pixels.copy()
    for copy in copies:
        part = copy.source.of(pixels)
        if copy.tones.plain:
            copy.box.of(out)[:] = part
            continue
        target = samples_of(copy.box.of(out))
        for channel, table in enumerate(copy.tones.tables):
            target[..., channel] = table[samples_of(part)[..., channel]]
    return out


def samples_of(pixels: NDArray[Any]) -> Pixels:
    """A view [h, w, 3 or 4] of the samples of pixels as `moved` takes them."""
    if pixels.ndim == 3:
        return pixels
    return pixels[..., None].view(np.uint8)


def built(before: Pixels, message: Changes, photographs: PhotographTool, shown: Shown) -> Pixels:
    """The picture of a message.

    Args:
        before: uint8 [H, W, 3], the picture that the message builds on.
        message: what changed.
        photographs: decodes rectangles of the learned tool.
        shown: rectangles that were sent before; those of the message are added.

    Returns:
        A new array of the same shape.

    Raises:
        Corrupt: a rectangle is damaged.
    """
    pixels = moved(before, message.copies)
    for one in message.rectangles:
        part = decoded(one, photographs, shown)
        shown.add(one, part)
        paste(pixels, one.box, part)
    return pixels


def decoded(rectangle: Rectangle, photographs: PhotographTool, shown: Shown) -> Pixels:
    """The new pixels [h, w, 3] of a rectangle.

    Args:
        rectangle: of a message.
        photographs: decodes rectangles of the learned tool.
        shown: rectangles that were sent before.

    Raises:
        Corrupt: it is damaged.
    """
    box = rectangle.box
    shape = (box.bottom - box.top, box.right - box.left, 3)
    if rectangle.tool == changes.AGAIN:
        return shown.at(rectangle.payload, (shape[0], shape[1]))
    if rectangle.tool == changes.PATCH:
        return patch.decode(rectangle.payload, *shape[:2])
    if rectangle.tool == changes.LEARNED:
        return photographs.decode(rectangle.payload[FINGERPRINT_BYTES:], shape)
    return tool_numbered(rectangle.tool).decode(rectangle.payload, shape)
