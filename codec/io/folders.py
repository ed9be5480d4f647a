"""The pictures in a folder: symlinks are followed, and everything left out is counted."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Set
from dataclasses import dataclass, field
from pathlib import Path

from codec.errors import sentence
from codec.io import formats

# Drawings cannot be read; they are listed so that the report names them.
PICTURES = formats.SUFFIXES | formats.DRAWINGS


@dataclass
class Listing:
    """The content of a folder.

    Attributes:
        files: the wanted files, sorted.
        unreadable: folder -> why it cannot be read.
        others: number of other files by suffix.
        loops: links back to a folder above them.
    """

    files: list[Path] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    loops: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """A line about files of other kinds, and one about links back to a folder above, if any."""
        lines = []
        count = sum(self.others.values())
        if count:
            kinds = ", ".join(suffix or "no suffix" for suffix, _ in self.others.most_common(5))
            lines.append(f"{count} other file{'s' * (count > 1)} left out ({kinds})")
        if self.loops:
            lines.append(f"{len(self.loops)} links back to a folder above were not followed")
        return lines


def listing(folder: Path, suffixes: Set[str]) -> Listing:
    """List the files below a folder.

    Links to folders are followed, except to a folder above them. A wanted name is listed even if it
    cannot be opened, because reading it says what is wrong. Pipes and devices count as others.

    Args:
        folder: searched recursively.
        suffixes: of the wanted files, in lower case with their dot.

    Returns:
        Wanted files, and what was left out.
    """
    contents = Listing()
    _walk(folder, suffixes, contents, ())
    contents.files.sort()
    return contents


def files_in(folder: Path, suffixes: Set[str]) -> list[Path]:
    """The files of `listing`."""
    return listing(folder, suffixes).files


def pictures_at(place: Path) -> list[Path]:
    """A picture, or all pictures below a folder."""
    return files_in(place, PICTURES) if place.is_dir() else [place]


def _walk(
    folder: Path, suffixes: Set[str], contents: Listing, above: tuple[tuple[int, int], ...]
) -> None:
    try:
        state = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        contents.unreadable[str(folder)] = sentence(error)
        return
    identity = (state.st_dev, state.st_ino)
    if identity in above:
        contents.loops.append(str(folder))
        return
    for entry in entries:
        if _is_folder(entry):
            _walk(folder / entry.name, suffixes, contents, (*above, identity))
            continue
        suffix = os.path.splitext(entry.name)[1].lower()
        if suffix in suffixes and not _is_special(entry):
            contents.files.append(folder / entry.name)
        elif not entry.name.startswith("."):
            contents.others[suffix] += 1


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _is_special(entry: os.DirEntry[str]) -> bool:
    """Whether a path is a pipe, a socket or a device, which might never stop sending data."""
    try:
        return os.path.exists(entry.path) and not entry.is_file()
    except OSError:
        return False
