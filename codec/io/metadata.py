"""The optional sections of a file: alpha, grey, colour profile and EXIF, and what `keep` keeps.

keep      colour profile   EXIF                                          pixels
all       yes              all that is sound                             as they are
safe      yes              without location, maker notes, serial numbers as they are
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
PRIVATE = (
    "location, maker notes and serial numbers were left out of the EXIF data "
    "(keep='all' keeps them)"
)


def check_keep(keep: Any) -> str:
    """Check a value of `keep`. Raises BadArgument for anything but all, safe and none."""
    if keep not in KEEP:
        raise BadArgument(f"keep must be one of {', '.join(KEEP)}, not {keep!r}")
    return str(keep)


def kept(picture: images.Picture, keep: str = DEFAULT_KEEP) -> images.Picture:
    """Remove metadata from a picture.

    Args:
        picture: the picture.
        keep: `all`, `safe` (no location, maker notes or serial numbers) or `none`.

    Returns:
        The picture. Without its profile the pixels are converted to sRGB, so that they look the
        same.

    Raises:
        BadArgument: `keep` is another value.
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
    """Replace the colours of invisible pixels, so that noise below alpha 0 costs no bits.

    Lossless modes must not do this.
    """
    return replace(picture, pixels=compose.without_hidden(picture.pixels, picture.alpha))


def extras_of(picture: images.Picture) -> dict[int, bytes]:
    """The optional sections of a picture's file, by type."""
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
    """Join decoded pixels and the optional sections of their file.

    Args:
        content: the file.
        pixels: uint8 [H, W, 3].

    Returns:
        The picture; damaged metadata is left out with a note.

    Raises:
        Corrupt: the alpha section is damaged.
    """
    extras = content.extras
    notes: list[str] = []
    icc = extras.get(container.EXTRA_ICC)
    if icc is not None and not colour.is_sound(icc):
        notes.append("the file's colour profile is damaged and was ignored")
        icc = None
    stored = extras.get(container.EXTRA_EXIF)
    sound, odd = exif.sound(exif.opened(stored))
    if stored is not None and (sound is None or odd):
        notes += odd or ["the file's EXIF data is damaged and was ignored"]
    alpha = extras.get(container.EXTRA_ALPHA)
    return images.Picture(
        pixels,
        None if alpha is None else images.unpack_alpha(alpha, content.width, content.height),
        container.EXTRA_GREY in extras,
        icc,
        # Sound EXIF is passed on byte for byte (docs/format.md, "Extras").
        stored if sound is not None and not odd else sound,
        notes,
    )


def explained(picture: images.Picture, error: TargetTooSmall, target: int) -> TargetTooSmall:
    """The error, or one that names metadata if that alone is the reason."""
    why = too_small(picture, error.smallest, target)
    return error if why is None else TargetTooSmall(why, error.smallest)


def too_small(picture: images.Picture, smallest: int, target: int) -> str | None:
    """Explain why a target size cannot be met, if metadata is the reason.

    Args:
        picture: the picture.
        smallest: bytes of its smallest file.
        target: bytes.

    Returns:
        A sentence if the file would fit without metadata; None otherwise.
    """
    extra = len(picture.icc or b"") + len(picture.exif or b"")
    if not extra or smallest - extra > target:
        return None
    return (
        f"the smallest file of this picture has {smallest} bytes, {extra} of them colour profile "
        "and EXIF; leave those out (keep='none')"
    )
