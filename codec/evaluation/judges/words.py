"""Tesseract on screens: the share of the words found in the original that are still found."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Direction, PerPicture, Sample, tesseract

# Sparse text, because a screenshot is not a column of text.
SEGMENTATION = 11
# Letters and digits of any script, at least three in a row, in their case.
WORD = re.compile(r"[^\W_]{3,}")


def words(text: str) -> Counter[str]:
    """Runs of three or more letters or digits, in their case, and how often each occurs."""
    return Counter(WORD.findall(text))


def share_found(truth: Counter[str], reading: Counter[str]) -> float:
    """Share of words that were read again, each as often as it occurs.

    Args:
        truth: words read in the original.
        reading: words read in the decoded picture.

    Returns:
        0..1; 1 where the original has no word.
    """
    return (truth & reading).total() / truth.total() if truth else 1.0


class WordsJudge:
    """Share, 0..1, of the words that Tesseract reads in the original and still reads."""

    name = "words"
    folder = "eval/screens"

    def __init__(self, data: Path) -> None:
        """Ask Tesseract for its version. Raises JudgeUnavailable."""
        self.data = data
        self.scores: dict[str, Direction] = {"words": "higher"}
        self.note = (
            f"{tesseract.version()}, English, sparse text (--psm {SEGMENTATION}): "
            "share of the words found in the original that are still found."
        )
        self.original_words = PerPicture(self.read)

    def pictures(self) -> list[Sample]:
        """The screenshots, by name."""
        paths = sorted((self.data / self.folder).iterdir())
        return [Sample(path, None) for path in paths if path.suffix in (".png", ".jpg")]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """{"words": 0..1} of a decoded picture [H, W, 3], compared with its original."""
        return {"words": share_found(self.original_words(original), self.read(decoded))}

    def read(self, pixels: Pixels) -> Counter[str]:
        """The words in a picture [H, W, 3]. Raises CalledProcessError or TimeoutExpired."""
        return words(tesseract.read(pixels, SEGMENTATION))
