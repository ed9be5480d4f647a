"""A picture from the one before and a message: copies first, then new pixels over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from codec.bitstream.container import FINGERPRINT_BYTES
from codec.tools import changes, patch
from codec.tools.changes import Changes, Copy, Rectangle
from codec.tools.mixed import PhotographTool
from codec.tools.regions import Box, paste
from codec.tools.registry import tool_numbered

Pixels = NDArray[np.uint8]
T = TypeVar("T", bound=np.generic)


def moved(pixels: NDArray[T], copies: Sequence[Copy]) -> NDArray[T]:
    """A picture [H, W, ...] after the copies, which all read the picture before; a new array."""
    out = pixels.copy()
    for copy in copies:
        copy.box.of(out)[:] = copy.source.of(pixels)
    return out


def pasted(pixels: Pixels, parts: Iterable[tuple[Box, Pixels]]) -> Pixels:
    """Put new pixels in their boxes, in place. Raises Corrupt for those of another size."""
    for box, part in parts:
        paste(pixels, box, part)
    return pixels


def built(before: Pixels, message: Changes, photographs: PhotographTool) -> Pixels:
    """The picture of a message.

    Args:
        before: uint8 [H, W, 3], the picture that the message builds on.
        message: what changed.
        photographs: decodes rectangles of the learned tool.

    Returns:
        A new array of the same shape.

    Raises:
        Corrupt: a rectangle is damaged.
    """
    parts = ((one.box, decoded(one, photographs)) for one in message.rectangles)
    return pasted(moved(before, message.copies), parts)


def decoded(rectangle: Rectangle, photographs: PhotographTool) -> Pixels:
    """The new pixels [h, w, 3] of a rectangle. Raises Corrupt."""
    box = rectangle.box
    shape = (box.bottom - box.top, box.right - box.left, 3)
    if rectangle.tool == changes.PATCH:
        return patch.decode(rectangle.payload, *shape[:2])
    if rectangle.tool == changes.LEARNED:
        return photographs.decode(rectangle.payload[FINGERPRINT_BYTES:], shape)
    return tool_numbered(rectangle.tool).decode(rectangle.payload, shape)
