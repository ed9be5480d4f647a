"""Harmless EXIF: it is read tag by tag, and what Pillow cannot write again is left out.

::

    bytes, or Pillow's Exif -> opened -+-> orientation
                                       +-> sound, tag by tag -> bytes that Pillow reads
    sound bytes -> without_private -> no location, no maker notes, no serial numbers
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable, Set
from functools import partial
from typing import Any, TypeVar

from PIL import Image

T = TypeVar("T")
# CIPA DC-008 (EXIF 2.32), 4.6.3 and 4.6.5.
ORIENTATION = 0x0112
DIRECTORY = 0x8769
GPS = 0x8825
INTEROPERABILITY = 0xA005
MAKER_NOTE = 0x927C
# EXIF 2.32, 4.6.5, table 8: they name one camera and one lens.
SERIAL_NUMBERS = (0xA431, 0xA435)
# The most that one JPEG segment can hold (ISO 10918-1, B.2.4).
LIMIT_BYTES = 65_533
MOST_TAGS = 256
# Tags about the layout of a TIFF file's pixels. 296, the unit of the resolution, is not one.
STRUCTURE = frozenset((*range(254, 267), *range(273, 282), *range(284, 301), 317)) - {296}
STRUCTURE |= frozenset((*range(320, 342), 347, *range(512, 531), 532, 34675))
# Blocks of other programs: XMP, annotations, IPTC, Photoshop, printers, DNG.
BLOCKS = frozenset((700, 32781, 33723, 34377, 37724, 40976, 50341, *range(50706, 51200)))
POINTERS = frozenset((DIRECTORY, GPS, INTEROPERABILITY))
LEFT_OUT = STRUCTURE | BLOCKS | POINTERS | {ORIENTATION}
# Errors that Pillow raises for odd tags.
ODD = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


def opened(source: Any) -> Image.Exif | None:
    """Read EXIF from bytes or Pillow's object; None if Pillow cannot read it."""
    if source is None or isinstance(source, Image.Exif):
        return source

    def read() -> Image.Exif:
        exif = Image.Exif()
        exif.load(source)
        return exif

    return _or(None, read) if isinstance(source, (bytes, bytearray)) else None


def of_image(image: Image.Image) -> Image.Exif | None:
    """A picture's EXIF; None if Pillow cannot read any."""
    return _or(None, image.getexif)


def orientation(exif: Image.Exif | None) -> int:
    """The orientation 1..8; 1 (upright) if it is missing or invalid."""
    value = 1 if exif is None else _or(1, lambda: exif.get(ORIENTATION, 1))
    return value if type(value) is int and 1 <= value <= 8 else 1


def sound(exif: Image.Exif | None) -> tuple[bytes | None, list[str]]:
    """Keep the tags that Pillow can write and read again.

    Orientation, the file's layout and other programs' blocks are removed.

    Args:
        exif: Pillow's object, or None.

    Returns:
        EXIF bytes, None if nothing is left; and a note on each kind of loss.
    """
    if exif is None:
        return None, []
    lost: list[int] = []
    main = _readable(lambda: exif, lost)
    blocks = BLOCKS & main.keys()
    # A valid one is applied to the pixels and needs no note.
    if main.get(ORIENTATION, 1) not in range(1, 9):
        lost.append(ORIENTATION)
    out = _kept({tag: value for tag, value in main.items() if tag not in LEFT_OUT}, None, lost)
    for place in (DIRECTORY, GPS):
        tags = _readable(partial(exif.get_ifd, place), lost)
        below = _kept({tag: v for tag, v in tags.items() if tag not in POINTERS}, place, lost)
        out |= {place: below} if below else {}
    if not out:
        return None, _said(lost, blocks)
    data = _written(out)
    if data is not None and len(data) > LIMIT_BYTES and MAKER_NOTE in out.get(DIRECTORY, {}):
        del out[DIRECTORY][MAKER_NOTE]
        data = _written(out)
        lost.append(MAKER_NOTE)
    if data is None or len(data) > LIMIT_BYTES:
        return None, ["the EXIF data was dropped: it is damaged or larger than 64 KB"]
    return data, _said(lost, blocks)


def without_private(data: bytes) -> bytes | None:
    """Remove location, maker notes and serial numbers from EXIF; None if nothing is left.

    Args:
        data: of `sound`.
    """
    exif = opened(data)
    if exif is None:
        return None
    nothing: dict[int, Any] = {}
    directory = dict(_or(nothing, partial(exif.get_ifd, DIRECTORY)))
    private = [tag for tag in (MAKER_NOTE, *SERIAL_NUMBERS) if tag in directory]
    if GPS not in exif and not private:
        return data
    out = {tag: exif[tag] for tag in exif if tag not in (GPS, DIRECTORY)}
    for tag in private:
        del directory[tag]
    out |= {DIRECTORY: directory} if directory else {}
    return _written(out) if out else None


def _said(lost: list[int], blocks: Set[int]) -> list[str]:
    notes = []
    if blocks:
        notes.append("metadata of other programs (XMP, IPTC, Photoshop, DNG) was dropped")
    if lost:
        names = ", ".join(dict.fromkeys(f"{tag:#06x}" for tag in lost[:4]))
        more = " and more" if len(lost) > 4 else ""
        notes.append(f"invalid EXIF values were dropped (tags {names}{more})")
    return notes


def _readable(directory: Callable[[], Any], lost: list[int]) -> dict[int, Any]:
    """The tags of a directory that can be read."""
    entries: Any = _or(None, directory)
    tags: list[int] = _or([], lambda: list(entries or ()))[:MOST_TAGS]
    values = {}
    for tag in tags:
        value = _or(None, partial(entries.__getitem__, tag))
        if value is None:
            lost.append(tag)
        else:
            values[tag] = value
    return values


def _kept(tags: dict[int, Any], place: int | None, lost: list[int]) -> dict[int, Any]:
    """The tags of a directory that can be written and read again; all are tried at once first."""

    def at(some: dict[int, Any]) -> dict[int, Any]:
        return some if place is None else {place: some}

    if not tags or _written(at(tags)) is not None:
        return tags
    good = {tag: value for tag, value in tags.items() if _written(at({tag: value})) is not None}
    lost += [tag for tag in tags if tag not in good]
    return good if _written(at(good)) is not None else {}


def _written(tags: dict[int, Any]) -> bytes | None:
    """EXIF bytes; None if Pillow cannot write these tags, or cannot read its own bytes again."""

    def write() -> bytes | None:
        exif = Image.Exif()
        for tag, value in tags.items():
            exif[tag] = dict(value) if isinstance(value, dict) else value
        data: bytes = exif.tobytes()
        back = Image.Exif()
        back.load(data)
        if set(back) != set(tags):
            return None
        for tag, value in tags.items():
            inner = back.get_ifd(tag) if isinstance(value, dict) else back[tag]
            if isinstance(value, dict) and set(inner) != set(value):
                return None
        return data

    return _or(None, write)


def _or(otherwise: T, read: Callable[[], T]) -> T:
    """Call `read` without Pillow's warnings; return `otherwise` on an error for odd tags."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return read()
        except ODD:
            return otherwise
