"""Which files a viewer shows, and their originals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from codec.errors import BadArgument
from codec.io import folders

ENCODED = ".ctm"


@dataclass(frozen=True)
class Shown:
    """A file of the list.

    Attributes:
        name: what the page calls it.
        path: the .ctm file.
        original: the picture that it was made of, where it is known.
    """

    name: str
    path: Path
    original: Path | None


def shown_files(place: Path, original: Path | None = None) -> list[Shown]:
    """The .ctm files of a viewer.

    Args:
        place: a file, or a folder that is searched recursively.
        original: the original of the file, or a folder with originals of the same names.

    Returns:
        The files, sorted by name.

    Raises:
        BadArgument: there are no such files.
    """
    for wanted in (place, original):
        if wanted is not None and not wanted.exists():
            raise BadArgument(f"{wanted} does not exist")
    if not place.is_dir():
        found = original
        if original is not None and original.is_dir():
            found = _originals(original).get(place.stem)
        return [Shown(place.name, place, found)]
    if original is not None and not original.is_dir():
        raise BadArgument(f"{original} is one picture; originals of a folder are in a folder")
    paths = folders.files_in(place, {ENCODED})
    if not paths:
        raise BadArgument(f"{place} holds no {ENCODED} files")
    pictures = {} if original is None else _originals(original)
    shown = []
    for path in paths:
        name = path.relative_to(place)
        # The same place in the other folder, else the same name anywhere.
        picture = pictures.get(str(name.with_suffix(""))) or pictures.get(path.stem)
        shown.append(Shown(name.as_posix(), path, picture))
    return shown


def _originals(folder: Path) -> dict[str, Path]:
    """Pictures by their place in a folder and by their name, without suffix."""
    paths = folders.pictures_at(folder)
    named = {path.stem: path for path in reversed(paths)}
    return named | {str(path.relative_to(folder).with_suffix("")): path for path in paths}
