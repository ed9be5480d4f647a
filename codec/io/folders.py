"""Which files of a folder are pictures: symlinks are followed, and nothing is left out silently."""

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
    """files: sorted; unreadable: folder -> why; others: how many files of other kinds, by suffix;
    loops: links back to a folder
    above.
    """

    files: list[Path] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    loops: list[str] = field(default_factory=list)

    def notes(self) -> list[str]:
        """One line on the files that were left out, one on links in a circle."""
        lines = []
        count = sum(self.others.values())
        if count:
            kinds = ", ".join(suffix or "no suffix" for suffix, _ in self.others.most_common(5))
            lines.append(f"{count} other file{'s' * (count > 1)} left out ({kinds})")
        if self.loops:
            lines.append(f"{len(self.loops)} links back to a folder above were not followed")
        return lines


def listing(folder: Path, wanted: Set[str]) -> Listing:
    """The files below a folder whose suffix is wanted, and what else is there.

    Links to folders are followed, those to a folder above them are not. A wanted name is listed
    whether or not it can be opened: reading it says what is wrong. Pipes and devices are others.
    """
    found = Listing()
    _walk(folder, wanted, found, ())
    found.files.sort()
    return found


def files_in(folder: Path, wanted: Set[str]) -> list[Path]:
    """`listing`'s files."""
    return listing(folder, wanted).files


def pictures_at(place: Path) -> list[Path]:
    """A picture, or all pictures below a folder."""
    return files_in(place, PICTURES) if place.is_dir() else [place]


def _walk(
    folder: Path, wanted: Set[str], found: Listing, above: tuple[tuple[int, int], ...]
) -> None:
    try:
        state = os.stat(folder)
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        found.unreadable[str(folder)] = sentence(error)
        return
    own = (state.st_dev, state.st_ino)
    if own in above:
        found.loops.append(str(folder))
        return
    for entry in entries:
        if _is_folder(entry):
            _walk(folder / entry.name, wanted, found, (*above, own))
            continue
        suffix = os.path.splitext(entry.name)[1].lower()
        if suffix in wanted and not _is_special(entry):
            found.files.append(folder / entry.name)
        elif not entry.name.startswith("."):
            found.others[suffix] += 1


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a circle
        return False


def _is_special(entry: os.DirEntry[str]) -> bool:
    """A pipe, a socket or a device; reading it might never end."""
    try:
        return os.path.exists(entry.path) and not entry.is_file()
    except OSError:
        return False
