"""Tesseract on screens: the share of the words found in the original that are still found."""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.judges import Direction, JudgeUnavailable, PerPicture, Sample
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
PROGRAM = "tesseract"
# Sparse text: a screenshot is no column of a book.
COMMAND = (PROGRAM, "-", "-", "-l", "eng", "--psm", "11")
SECONDS = 300
# Letters and digits of any script, at least three in a row, as they are written.
WORD = re.compile(r"[^\W_]{3,}")


def words(text: str) -> Counter[str]:
    """Runs of three or more letters or digits, as they are written, and how often each occurs."""
    return Counter(WORD.findall(text))


def share_found(wanted: Counter[str], found: Counter[str]) -> float:
    """Share 0..1 of the wanted words that were found, each as often as it occurs; 1 of none."""
    return (wanted & found).total() / wanted.total() if wanted else 1.0


class WordsJudge:
    """Share of the words that Tesseract finds in the original and still finds, 0..1."""

    name = "words"
    folder = "eval/screens"

    def __init__(self, data: Path) -> None:
        """Raises JudgeUnavailable where Tesseract or its English data is missing."""
        self.data = data
        self.scores: dict[str, Direction] = {"words": "higher"}
        self.note = (
            f"{_version()}, English, sparse text (--psm 11): "
            "share of the words found in the original that are still found."
        )
        self.own_words = PerPicture(self.read)

    def pictures(self) -> list[Sample]:
        """The screenshots, by name."""
        paths = sorted((self.data / self.folder).iterdir())
        return [Sample(path, None) for path in paths if path.suffix in (".png", ".jpg")]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """{"words": 0..1} of a decoded picture [H, W, 3] beside its original."""
        return {"words": share_found(self.own_words(original), self.read(decoded))}

    def read(self, pixels: Pixels) -> Counter[str]:
        """The words in a picture [H, W, 3]. Raises CalledProcessError or TimeoutExpired."""
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
        environment = os.environ | {"OMP_THREAD_LIMIT": "1"}
        done = subprocess.run(
            COMMAND,
            input=stream.getvalue(),
            capture_output=True,
            env=environment,
            check=True,
            timeout=SECONDS,
        )
        return words(done.stdout.decode("utf-8", "replace"))


def _version() -> str:
    """Tesseract's first line about itself. Raises JudgeUnavailable."""
    missing = f"{PROGRAM} cannot be run: install the packages tesseract-ocr and tesseract-ocr-eng"
    answers = []
    for option in ("--version", "--list-langs"):
        try:
            done = subprocess.run(
                [PROGRAM, option], capture_output=True, text=True, check=True, timeout=SECONDS
            )
        except (OSError, subprocess.SubprocessError):
            raise JudgeUnavailable(missing) from None
        answers.append(done.stdout)
    if "eng" not in answers[1].split():
        raise JudgeUnavailable(f"{PROGRAM} does not know English: install tesseract-ocr-eng")
    return answers[0].splitlines()[0]
