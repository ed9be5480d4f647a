"""What rides in a file beside its latents: alpha, grey, colour profile, EXIF; and how much of it is
kept.

keep      colour profile   EXIF                                          pixels
all       yes              all that is sound                             as they are
safe      yes              without location and maker notes              as they are
none      no               no                                            in sRGB

Profiles and EXIF above 64 KB each are never kept (docs/reliability.md).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.bitstream import container
from codec.errors import BadArgument, TargetTooSmall
from codec.io import colour, compose, exif, images

KEEP = ("all", "safe", "none")
DEFAULT_KEEP = "safe"
ICC_LIMIT_BYTES = exif.LIMIT_BYTES
IN_SRGB = "the colours were converted to sRGB, because the file does not keep their profile"
PRIVATE = "location and maker notes were left out of the EXIF data (keep='all' keeps them)"


def check_keep(keep: Any) -> str:
    """Raises BadArgument for anything but all, safe and none."""
    if keep not in KEEP:
        raise BadArgument(f"what to keep must be {', '.join(KEEP)}, not {keep!r}")
    return str(keep)


def kept(picture: images.Picture, keep: str = DEFAULT_KEEP) -> images.Picture:
    """A picture with as much of its metadata as is wished. Raises BadArgument.

    Without its profile the pixels are brought to sRGB, so that they look the same.
    """
    check_keep(keep)
    if keep == "none":
        pixels = colour.to_srgb(picture.pixels, picture.icc)
        notes = picture.notes if pixels is picture.pixels else [*picture.notes, IN_SRGB]
        return replace(picture, pixels=pixels, icc=None, exif=None, notes=notes)
    if keep == "all" or not picture.exif:
        return picture
    public = exif.without_private(picture.exif)
    if public == picture.exif:
        return picture
    return replace(picture, exif=public, notes=[*picture.notes, PRIVATE])


def for_lossy(picture: images.Picture) -> images.Picture:
    """Colours that nobody can see in those of their neighbours: noise below alpha 0 costs nothing.

    A lossless mode must not do this.
    """
    return replace(picture, pixels=compose.without_hidden(picture.pixels, picture.alpha))


def extras_of(picture: images.Picture) -> dict[int, bytes]:
    """A file's optional sections."""
    extras: dict[int, bytes] = {}
    if picture.alpha is not None:
        extras[container.EXTRA_ALPHA] = images.pack_alpha(picture.alpha)
    if picture.grey:
        extras[container.EXTRA_GREY] = b""
    if picture.icc:
        extras[container.EXTRA_ICC] = picture.icc
    if picture.exif:
        extras[container.EXTRA_EXIF] = picture.exif
    return extras


def picture_of(content: container.Container, pixels: NDArray[np.uint8]) -> images.Picture:
    """Pixels with a file's optional sections; unsound metadata is left out with a note.

    Raises Corrupt where alpha is damaged.
    """
    extras = content.extras
    notes: list[str] = []
    icc = extras.get(container.EXTRA_ICC)
    if icc is not None and not colour.is_sound(icc):
        notes.append("the file's colour profile was left out: it is damaged")
        icc = None
    stored = extras.get(container.EXTRA_EXIF)
    own, odd = exif.sound(exif.opened(stored))
    if stored is not None and (own is None or odd):
        notes += odd or ["the file's EXIF data was left out: it is damaged"]
    alpha = extras.get(container.EXTRA_ALPHA)
    return images.Picture(
        pixels,
        None if alpha is None else images.unpack_alpha(alpha, content.width, content.height),
        container.EXTRA_GREY in extras,
        icc,
        stored if own is not None and not odd else own,
        notes,
    )


def explained(picture: images.Picture, error: TargetTooSmall, target: int) -> TargetTooSmall:
    """The same error, or one that names metadata where that is the reason."""
    why = too_small(picture, error.smallest, target)
    return error if why is None else TargetTooSmall(why, error.smallest)


def too_small(picture: images.Picture, smallest: int, target: int) -> str | None:
    """Why a target size cannot be met, where metadata is the reason: it would fit without."""
    ride = len(picture.icc or b"") + len(picture.exif or b"")
    if not ride or smallest - ride > target:
        return None
    return (
        f"the smallest file of this picture has {smallest} bytes, {ride} of them colour profile "
        "and EXIF; leave those out (keep='none')"
    )
