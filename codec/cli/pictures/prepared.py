"""What `cotam encode` does to a picture before it is coded.

::

    picture -> on a background, if asked for -> resized, if asked for -> Codec.encode
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from codec.errors import BadArgument
from codec.integrations.receivers import ReceiverName, fitted, receiver, within
from codec.io import colour, compose, metadata, resize
from codec.io.images import Picture
from codec.io.resize import Size

# Pixels by which rounding may change a side.
ROUNDING = 1.0


@dataclass(frozen=True)
class Preparation:
    """What is done to each picture.

    Attributes:
        size: width and height; or the long side, which never grows; None to keep the size.
        fit: a hosted model, to whose input size pictures are reduced; None for none.
        background: a colour behind transparent pixels; None to keep transparency.
        limit_pixels: larger results are refused.
    """

    size: Size | int | None = None
    fit: ReceiverName | None = None
    background: compose.Colour | None = None
    limit_pixels: int = 0

    @classmethod
    def of(cls, flags: dict[str, Any]) -> Preparation:
        """Read the flags of the command. Raises BadArgument."""
        if flags["resize"] is not None and flags["fit"] is not None:
            raise BadArgument("give --resize or --fit, not both")
        size = None if flags["resize"] is None else resize.parse(flags["resize"])
        if flags["fit"] is not None:
            receiver(flags["fit"])
        background = flags["background"]
        ground = None if background is None else compose.colour_of(background)
        return cls(size, flags["fit"], ground, flags["limit_pixels"])

    def __call__(self, picture: Picture) -> Picture:
        """Prepare a picture. Raises TooLarge."""
        if self.background is not None and picture.alpha is not None:
            picture = _flat(picture, self.background)
        height, width = picture.pixels.shape[:2]
        before = (width, height)
        after = self._size(before)
        if self.size == after and not _same_shape(before, after):
            note = f"the picture's shape was changed from {_named(before)} to {_named(after)}"
            picture = replace(picture, notes=[*picture.notes, note])
        return resize.resized(picture, after, self.limit_pixels)

    def _size(self, size: Size) -> Size:
        if self.fit is not None:
            return fitted(size, self.fit)
        if isinstance(self.size, int):
            return within(size, (self.size, self.size))
        return self.size or size


def _flat(picture: Picture, ground: compose.Colour) -> Picture:
    """A picture without transparency, in sRGB, because the background colour is sRGB."""
    pixels = colour.to_srgb(picture.pixels, picture.icc)
    converted = pixels is not picture.pixels
    return replace(
        picture,
        pixels=compose.on_background(pixels, picture.alpha, ground),
        alpha=None,
        grey=picture.grey and len(set(ground)) == 1,
        icc=None if converted else picture.icc,
        notes=[*picture.notes, metadata.IN_SRGB] if converted else picture.notes,
    )


def _same_shape(before: Size, after: Size) -> bool:
    return abs(before[0] * after[1] / before[1] - after[0]) <= ROUNDING


def _named(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
