"""Who looks at decoded pictures: one small protocol; a new judge is one class and one line in `JUDGES`.

::

    folder below COTAM_DATA -> pictures() -> codec under test -> judge(original, decoded, truth) -> scores
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np

from codec.bitstream.container import DEFAULT_LIMIT_PIXELS
from codec.evaluation.rivals import Pixels
from codec.io.images import read_shown

Direction = Literal["higher", "lower", "log", "to-one"]
T = TypeVar("T")
JUDGES = {
    "deit": "codec.evaluation.judges.deit:DeitJudge",
    "ocr": "codec.evaluation.judges.ocr:OcrJudge",
    "tokens": "codec.evaluation.judges.tokens:TokenJudge",
    "vqa": "codec.evaluation.judges.vqa:VqaJudge",
    "yolox": "codec.evaluation.judges.yolox:YoloxJudge",
}


class JudgeUnavailable(Exception):
    """A judge's program, weights or pictures are missing; the message says which in one sentence."""


@dataclass(frozen=True)
class Sample:
    """One picture file of a judge's set, and what is known about it (a label, words)."""

    path: Path
    truth: Any


class Judge(Protocol):
    """name: as on the command line; folder: its pictures, below COTAM_DATA; note: who judges and how, for the result.

    scores: what `judge` returns, and how BD-rate reads each one's mean: `higher` or `lower` is better, or `log`: lower is
    better and its logarithm counts, or `to-one`: higher is better and the logarithm of what is missing to 1 counts.
    """

    name: str
    folder: str
    note: str
    scores: dict[str, Direction]

    def pictures(self) -> list[Sample]:
        """The set, in a fixed order."""

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """Scores of a decoded picture [H, W, 3] beside its original of the same shape; truth None: what the original shows."""


class PerPicture(Generic[T]):
    """A function of a picture's pixels that is computed again only when another picture comes."""

    def __init__(self, function: Callable[[Pixels], T]) -> None:
        self.function = function
        self.last: tuple[Pixels, T] | None = None

    def __call__(self, pixels: Pixels) -> T:
        if self.last is None or not np.array_equal(self.last[0], pixels):
            self.last = pixels, self.function(pixels)
        return self.last[1]


def data_root() -> Path:
    """COTAM_DATA, or ../shared/data."""
    return Path(os.environ.get("COTAM_DATA", "../shared/data"))


def build_judge(name: str, data: Path, **options: Any) -> Judge:
    """Raises JudgeUnavailable where something that it needs is missing, KeyError for an unknown name."""
    module, _, cls = JUDGES[name].partition(":")
    judge: Judge = getattr(importlib.import_module(module), cls)(data, **options)
    return judge


def load_judge(name: str, data: Path) -> Judge:
    """As `build_judge`, and its own set of pictures must be there."""
    judge = build_judge(name, data)
    if not (data / judge.folder).is_dir():
        raise JudgeUnavailable(
            f"the pictures of the judge '{name}' are missing: set COTAM_DATA to a folder with {judge.folder}"
        )
    return judge


def read_pixels(path: Path) -> Pixels:
    """[H, W, 3], by the reader that encodes; raises CodecError."""
    return read_shown(path, DEFAULT_LIMIT_PIXELS)


def spread(samples: list[Sample], count: int | None) -> list[Sample]:
    """At most `count` of them, evenly spaced: sorted names put similar pictures side by side."""
    if count is None or count >= len(samples):
        return samples
    return [samples[i * len(samples) // count] for i in range(count)]
