"""The pictures of a comparison: files, folders, or sets by name, with their labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from codec.errors import BadArgument
from codec.evaluation.judges import Sample, spread
from codec.evaluation.metrics import Metric, Settings, judge_name, judge_of
from codec.io.folders import PICTURES, files_in

# Folders below COTAM_DATA/eval that can be named.
SETS = ("kodak", "imagenet", "receipts", "detection", "charts")
# Set -> the judge that has its labels.
TRUE_SETS = {"imagenet": "deit", "receipts": "ocr"}
# This judge's questions name their pictures, which may be in any folder.
VQA = "vqa"
# Hexadecimal digits that identify a picture in a kept row.
DIGEST_DIGITS = 16


@dataclass(frozen=True)
class Input:
    """One picture file.

    Attributes:
        path: where it is.
        digest: of the file's bytes, hexadecimal.
        truths: (judge, its label of the picture).
    """

    path: Path
    digest: str
    truths: tuple[tuple[str, object], ...] = ()


def listed(items: list[str], data: Path) -> list[Path]:
    """List picture files.

    Args:
        items: files, folders (searched recursively), or names of SETS.
        data: COTAM_DATA.

    Returns:
        Resolved paths, each once.

    Raises:
        BadArgument: an item does not exist, or there is no picture.
    """
    paths: list[Path] = []
    for item in items:
        place = Path(item)
        if not place.exists() and item in SETS:
            place = data / "eval" / item
            if not place.is_dir():
                raise BadArgument(
                    f"the set '{item}' is missing: set COTAM_DATA to a folder with eval/{item}"
                )
        if place.is_dir():
            paths += files_in(place, PICTURES)
        elif place.is_file():
            paths.append(place)
        else:
            raise BadArgument(f"there is no file, folder or set '{item}' (sets: {', '.join(SETS)})")
    if not paths:
        raise BadArgument(f"there is no picture in {', '.join(items) or 'an empty list'}")
    return list(dict.fromkeys(path.resolve() for path in paths))


def inputs(
    items: list[str], metrics: tuple[Metric, ...], settings: Settings, limit: int | None
) -> list[Input]:
    """List pictures with the labels that the metrics' judges have for them.

    Args:
        items: as for `listed`.
        metrics: what will be measured.
        settings: of the judges.
        limit: use at most this many pictures, evenly spaced; None for all.

    Returns:
        The pictures.

    Raises:
        BadArgument: as `listed` does.
    """
    paths = listed(items, settings.data)
    truths: dict[Path, dict[str, object]] = {}
    labelling = {judge_name(metric, settings) for metric in metrics} & {*TRUE_SETS.values(), VQA}
    for name in labelling:
        judge = judge_of(name, settings)
        folder = (settings.data / judge.folder).resolve()
        inside = name == VQA or any(path.is_relative_to(folder) for path in paths)
        for sample in judge.pictures() if inside else []:
            truths.setdefault(sample.path.resolve(), {})[name] = sample.truth
    kept = [sample.path for sample in spread([Sample(path, None) for path in paths], limit)]
    return [Input(path, _digest(path), tuple(truths.get(path, {}).items())) for path in kept]


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:DIGEST_DIGITS]
