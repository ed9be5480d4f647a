"""Tesseract as a judge: the share of a receipt's words that are still read."""

from __future__ import annotations

import json
import string
from collections import Counter
from pathlib import Path
from typing import Any

from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Direction, PerPicture, Sample, tesseract

# One block of text: on original receipts it reads more words than Tesseract's search for columns.
SEGMENTATION = 6
# Characters of a word; single ones are mostly noise.
SHORTEST = 2


def words(text: str) -> Counter[str]:
    """Words between white space, upper case, without punctuation at their ends.

    Args:
        text: any.

    Returns:
        Words of at least two characters, and how often each occurs.
    """
    stripped = (word.upper().strip(string.punctuation) for word in text.split())
    return Counter(word for word in stripped if len(word) >= SHORTEST)


def recall(truth: Counter[str], reading: Counter[str]) -> float:
    """Share of the truth's words that were read, each as often as it occurs.

    Args:
        truth: words of the annotation.
        reading: words that were read.

    Returns:
        0..1; 1 where the truth has no word.
    """
    return (truth & reading).total() / truth.total() if truth else 1.0


class OcrJudge:
    """Recall, 0..1, of the words in the annotation, or of those read in the original."""

    name = "ocr"
    folder = "eval/receipts"

    def __init__(self, data: Path) -> None:
        """Ask Tesseract for its version. Raises JudgeUnavailable."""
        self.data = data
        self.scores: dict[str, Direction] = {"recall": "higher"}
        self.original_text = PerPicture(self.read)
        self.note = (
            f"{tesseract.version()}, English, one block of text: "
            "recall of the words in the receipts' annotation."
        )

    def pictures(self) -> list[Sample]:
        """Scanned receipts with their text."""
        folder = self.data / self.folder
        truth = json.loads((folder / "truth.json").read_text())
        return [
            Sample(folder / name, " ".join(line["text"] for line in truth[name]["lines"]))
            for name in sorted(truth)
        ]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """{"recall": 0..1} of a decoded picture; truth: its text, or None."""
        text = self.original_text(original) if truth is None else truth
        return {"recall": recall(words(text), words(self.read(decoded)))}

    def read(self, pixels: Pixels) -> str:
        """The text in a picture [H, W, 3]. Raises CalledProcessError or TimeoutExpired."""
        return tesseract.read(pixels, SEGMENTATION)
