"""Training pictures on disk: folders read recursively, files decoded, some held out.

Imports neither PyTorch nor Lightning, which take seconds.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import BinaryIO

import numpy as np

from codec.bitstream.container import DEFAULT_LIMIT_PIXELS
from codec.errors import sentence
from codec.io.folders import PICTURES, listing
from codec.io.images import read_shown

log = logging.getLogger(__name__)
SUFFIXES = PICTURES


def list_pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, sorted. Raises FileNotFoundError if there is none."""
    contents = listing(folder, SUFFIXES)
    for place, why in contents.unreadable.items():
        log.warning("skipped the folder %s (%s)", place, why)
    if not contents.files:
        raise FileNotFoundError(
            f"no pictures below {folder}; set data.root or the variable COTAM_DATA"
        )
    return contents.files


def read_picture(source: Path | BinaryIO, name: str | None = None) -> np.ndarray | None:
    """Pixels [H, W, 3] of a path or open file, as a tower sees them (codec.io.images.read_shown).

    Returns None, and logs a warning with the file's name, if the file cannot be decoded or has too
    many pixels.
    """
    try:
        return np.array(read_shown(source, DEFAULT_LIMIT_PIXELS))
    except Exception as error:  # one bad picture must not end a run that takes days
        log.warning("skipped %s (%s)", name or source, sentence(error))
        return None


def is_held_out(index: int, every: int) -> bool:
    """Whether the picture at this index of a sorted list is held out; `every` 0 holds out none."""
    return every > 0 and index % every == every // 2


def without_held_out(paths: list[Path], every: int) -> list[Path]:
    """The pictures of a sorted list that are not held out (`is_held_out`)."""
    return [path for index, path in enumerate(paths) if not is_held_out(index, every)]
