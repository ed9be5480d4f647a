"""The pictures of a comparison: files, folders, or sets by name, with what is known of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from codec.errors import BadArgument
from codec.evaluation.judges import Sample, spread
from codec.evaluation.metrics import Metric, Settings, judge_name, judge_of
from codec.io.folders import PICTURES, files_in

SETS = ("kodak", "imagenet", "receipts", "detection", "charts")
TRUE_SETS = {"imagenet": "deit", "receipts": "ocr"}  # set -> the judge that knows its labels


@dataclass(frozen=True)
class Input:
    """truths: judge -> what it knows of the picture; digest: of the file's bytes."""

    path: Path
    digest: str
    truths: tuple[tuple[str, object], ...] = ()


def listed(items: list[str], data: Path) -> list[Path]:
    """Pictures of files, folders (recursively) and sets, each once. Raises BadArgument."""
    found: list[Path] = []
    for item in items:
        place = Path(item)
        if not place.exists() and item in SETS:
            place = data / "eval" / item
            if not place.is_dir():
                raise BadArgument(
                    f"the set '{item}' is not there: set COTAM_DATA to a folder with eval/{item}"
                )
        if place.is_dir():
            found += files_in(place, PICTURES)
        elif place.is_file():
            found.append(place)
        else:
            raise BadArgument(f"there is no file, folder or set '{item}' (sets: {', '.join(SETS)})")
    if not found:
        raise BadArgument("there is no picture in what was named")
    return list(dict.fromkeys(path.resolve() for path in found))


def inputs(
    items: list[str], metrics: tuple[Metric, ...], settings: Settings, limit: int | None
) -> list[Input]:
    """With the labels of those sets that have some. Raises BadArgument."""
    paths = listed(items, settings.data)
    truths: dict[Path, dict[str, object]] = {}
    for judge in {judge_name(metric, settings) for metric in metrics} & {
        *TRUE_SETS.values(),
        "vqa",
    }:
        own = settings.data / judge_of(judge, settings).folder
        inside = judge == "vqa" or any(path.is_relative_to(own.resolve()) for path in paths)
        for sample in judge_of(judge, settings).pictures() if inside else []:
            truths.setdefault(sample.path.resolve(), {})[judge] = sample.truth
    kept = [sample.path for sample in spread([Sample(path, None) for path in paths], limit)]
    return [
        Input(p, hashlib.sha256(p.read_bytes()).hexdigest()[:16], tuple(truths.get(p, {}).items()))
        for p in kept
    ]
