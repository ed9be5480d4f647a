"""Judges of decoded pictures behind one small protocol.

A new judge is one class and one line in `JUDGES`.

::

    folder below COTAM_DATA -> pictures() --+-> codec under test -> decoded --+
                                            +-> original, truth --------------+-> judge() -> scores
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
from codec.evaluation.distortion import Pixels
from codec.io.images import read_shown

Direction = Literal["higher", "lower", "log", "to-one"]
T = TypeVar("T")
# As in conf/train.yaml, which an installed package does not have.
DEFAULT_DATA = "data"
# Name -> module:class, so that a judge's packages are imported only when it is used.
JUDGES = {
    "deit": "codec.evaluation.judges.deit:DeitJudge",
    "lite0": "codec.evaluation.judges.lite0:Lite0Judge",
    "native_tiles": "codec.evaluation.judges.native_tiles:NativeTilesJudge",
    "ocr": "codec.evaluation.judges.ocr:OcrJudge",
    "photographs": "codec.evaluation.judges.photographs:PhotographsJudge",
    "tokens": "codec.evaluation.judges.tokens:TokenJudge",
    "vqa": "codec.evaluation.judges.vqa:VqaJudge",
    "words": "codec.evaluation.judges.words:WordsJudge",
    "yolox": "codec.evaluation.judges.yolox:YoloxJudge",
}


class JudgeUnavailable(Exception):
    """A judge's program, weights or pictures are missing; the message says which in one line."""


@dataclass(frozen=True)
class Sample:
    """One picture file of a judge's set.

    Attributes:
        path: where it is.
        truth: its label, words or questions; None where there is no label.
    """

    path: Path
    truth: Any


class Judge(Protocol):
    """Scores decoded pictures.

    Attributes:
        name: as on the command line.
        folder: its pictures, below COTAM_DATA.
        note: a description of the judge and its method, stored with the result.
        scores: what `judge` returns, and how BD-rate reads the mean of each. `higher`: higher is
            better; `lower`: lower is better; `log`: lower is better and its logarithm counts;
            `to-one`: higher is better and the logarithm of its distance to 1 counts.
    """

    name: str
    folder: str
    note: str
    scores: dict[str, Direction]

    def pictures(self) -> list[Sample]:
        """The set, in a fixed order."""

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """Score a decoded picture.

        Args:
            original: uint8 [H, W, 3].
            decoded: uint8 [H, W, 3].
            truth: the label; None to compare with the judge's result on the original.

        Returns:
            Name of a score -> value.
        """


class PerPicture(Generic[T]):
    """A function of a picture's pixels that is computed again only when the picture changes."""

    def __init__(self, function: Callable[[Pixels], T]) -> None:
        self.function = function
        self.last: tuple[Pixels, T] | None = None

    def __call__(self, pixels: Pixels) -> T:
        """The function's value for uint8 [H, W, 3]."""
        if self.last is None or not np.array_equal(self.last[0], pixels):
            self.last = pixels, self.function(pixels)
        return self.last[1]


def data_root() -> Path:
    """COTAM_DATA, or ./data."""
    return Path(os.environ.get("COTAM_DATA", DEFAULT_DATA))


def build_judge(name: str, data: Path, **options: Any) -> Judge:
    """Make a judge.

    Args:
        name: of JUDGES.
        data: COTAM_DATA.
        options: of its class.

    Returns:
        The judge.

    Raises:
        JudgeUnavailable: something that it needs is missing.
        KeyError: there is no such judge.
    """
    module, _, cls = JUDGES[name].partition(":")
    judge: Judge = getattr(importlib.import_module(module), cls)(data, **options)
    return judge


def load_judge(name: str, data: Path) -> Judge:
    """Make a judge that has its own set of pictures.

    Args:
        name: of JUDGES.
        data: COTAM_DATA.

    Returns:
        The judge.

    Raises:
        JudgeUnavailable: something that it needs, or its pictures, are missing.
        KeyError: there is no such judge.
    """
    judge = build_judge(name, data)
    if not (data / judge.folder).is_dir():
        raise JudgeUnavailable(
            f"the pictures of the judge '{name}' are missing: "
            f"set COTAM_DATA to a folder with {judge.folder}"
        )
    return judge


def read_pixels(path: Path) -> Pixels:
    """Read a picture file as a tower sees it: uint8 [H, W, 3]. Raises CodecError."""
    return read_shown(path, DEFAULT_LIMIT_PIXELS)


def spread(samples: list[T], count: int | None) -> list[T]:
    """At most `count` entries of a list, evenly spaced.

    Sorted file names put similar pictures side by side, so the first ones would not be
    representative.
    """
    if count is None or count >= len(samples):
        return samples
    return [samples[i * len(samples) // count] for i in range(count)]
