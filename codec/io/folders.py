"""Which files of a folder are pictures."""

from __future__ import annotations

from pathlib import Path

PICTURES = {
    ".png",
    ".jpg",
    ".jpeg",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".avif",
    ".jp2",
    ".tga",
}


def files_in(folder: Path, wanted: set[str]) -> list[Path]:
    """Files below a folder with one of the suffixes, sorted."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix.lower() in wanted)


def pictures_at(place: Path) -> list[Path]:
    """A picture, or all pictures below a folder."""
    return files_in(place, PICTURES) if place.is_dir() else [place]
