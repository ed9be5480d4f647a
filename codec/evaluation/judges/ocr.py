"""Tesseract as a judge: the share of a receipt's words that are still read."""

from __future__ import annotations

import io
import json
import os
import string
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

from PIL import Image

from codec.evaluation.judges import Direction, JudgeUnavailable, PerPicture, Sample
from codec.evaluation.rivals import Pixels

PROGRAM = "tesseract"
# A receipt is one block of text: on the originals more words are found so than with Tesseract's own search for columns.
COMMAND = (PROGRAM, "-", "-", "-l", "eng", "--psm", "6")
SHORTEST = 2
SECONDS = 300


def words(text: str) -> Counter[str]:
    """Words between white space, upper-cased, without punctuation at their ends, of at least 2 characters."""
    stripped = (word.upper().strip(string.punctuation) for word in text.split())
    return Counter(word for word in stripped if len(word) >= SHORTEST)


def recall(truth: Counter[str], found: Counter[str]) -> float:
    """Share 0..1 of the truth's words that were found, each as often as it occurs; 1 where there are none."""
    return (truth & found).total() / truth.total() if truth else 1.0


class OcrJudge:
    """Recall of the words in the annotation, or of those that are read in the original, 0..1."""

    name = "ocr"
    folder = "eval/receipts"

    def __init__(self, data: Path) -> None:
        self.data = data
        self.scores: dict[str, Direction] = {"recall": "higher"}
        self.own_text = PerPicture(self.read)
        try:
            answer = subprocess.run(
                [PROGRAM, "--version"], capture_output=True, text=True, check=True, timeout=SECONDS
            ).stdout
            languages = subprocess.run(
                [PROGRAM, "--list-langs"],
                capture_output=True,
                text=True,
                check=True,
                timeout=SECONDS,
            ).stdout
        except (OSError, subprocess.SubprocessError):
            raise JudgeUnavailable(
                f"{PROGRAM} cannot be run: install the packages tesseract-ocr and tesseract-ocr-eng"
            ) from None
        if "eng" not in languages.split():
            raise JudgeUnavailable(
                f"{PROGRAM} does not know English: install the package tesseract-ocr-eng"
            )
        self.note = f"{answer.splitlines()[0]}, English, one block of text: recall of the words in the receipts' annotation."

    def pictures(self) -> list[Sample]:
        folder = self.data / self.folder
        truth = json.loads((folder / "truth.json").read_text())
        return [
            Sample(folder / name, " ".join(line["text"] for line in truth[name]["lines"]))
            for name in sorted(truth)
        ]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        return {
            "recall": recall(
                words(self.own_text(original) if truth is None else truth),
                words(self.read(decoded)),
            )
        }

    def read(self, pixels: Pixels) -> str:
        """The text in a picture [H, W, 3]. Raises CalledProcessError or TimeoutExpired where the program fails."""
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
        return done.stdout.decode("utf-8", "replace")
