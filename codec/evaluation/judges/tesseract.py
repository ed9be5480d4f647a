"""Tesseract, the program that reads text, for the judges of receipts and screens."""

from __future__ import annotations

import io
import os
import subprocess

from PIL import Image

from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import JudgeUnavailable

PROGRAM = "tesseract"
LANGUAGE = "eng"
PACKAGES = "tesseract-ocr and tesseract-ocr-eng"
# Time limit for one page.
SECONDS = 300


def version() -> str:
    """The first line of Tesseract's version.

    Raises:
        JudgeUnavailable: the program or its English data is missing.
    """
    answers = []
    for option in ("--version", "--list-langs"):
        try:
            done = subprocess.run(
                [PROGRAM, option], capture_output=True, text=True, check=True, timeout=SECONDS
            )
        except (OSError, subprocess.SubprocessError):
            raise JudgeUnavailable(
                f"{PROGRAM} cannot be run: install the packages {PACKAGES}"
            ) from None
        answers.append(done.stdout)
    if LANGUAGE not in answers[1].split():
        raise JudgeUnavailable(
            f"{PROGRAM} does not know English: install the package tesseract-ocr-eng"
        )
    return answers[0].splitlines()[0]


def read(pixels: Pixels, segmentation: int) -> str:
    """The text in a picture.

    Args:
        pixels: uint8 [H, W, 3].
        segmentation: Tesseract's `--psm`, which says how text is laid out.

    Returns:
        What Tesseract reads, in lines.

    Raises:
        CalledProcessError, TimeoutExpired: the program fails.
    """
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    # Workers share the cores; Tesseract's own threads would compete with them.
    environment = os.environ | {"OMP_THREAD_LIMIT": "1"}
    done = subprocess.run(
        (PROGRAM, "-", "-", "-l", LANGUAGE, "--psm", str(segmentation)),
        input=stream.getvalue(),
        capture_output=True,
        env=environment,
        check=True,
        timeout=SECONDS,
    )
    return done.stdout.decode("utf-8", "replace")
