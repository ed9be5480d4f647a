"""The browser viewer: JavaScript modules, a custom element and pages, and where they lie.

::

    cotam.js -> module/   decodes files in a worker; onnxruntime-web runs the networks
    parts/                <cotam-image>, overlays, the slider, the pages' style
    page/, view/          the page of `cotam export --web`, the page of `cotam view`
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
# What every page needs; `page` and `view` are pages.
MODULE = ("cotam.js", "module", "parts")


def files_of(*parts: str) -> Iterator[Path]:
    """The files of some parts, relative to FOLDER, sorted."""
    for part in parts:
        place = FOLDER / part
        found = sorted(place.iterdir()) if place.is_dir() else [place]
        yield from (path.relative_to(FOLDER) for path in found if path.is_file())
