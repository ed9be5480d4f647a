"""The distilled student as a guide: offline, in a few milliseconds. No torch here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec import memory
from codec.guidance.importance import Floats, Importance, Pixels, Rule

CELL = 16  # pixels of the small copy per position of the student's maps, along a side
SHORT_SIDE = 256  # pixels, at most
LONGEST = 4 * SHORT_SIDE  # pixels, at most
LEAST_TRUST = 0.1  # a smaller trust counts as 0, so that documents get uniform steps

# Pixels of a small copy -> log attention [h, w], log sensitivity [h, w], log-odds of a document
# (networks.student.Student.forward).
Look = Callable[[Pixels], tuple[Floats, Floats, float]]


def small_copy(pixels: Pixels) -> Pixels:
    """Shrink a picture to the size that the student looks at.

    Args:
        pixels: uint8 [H, W, 3].

    Returns:
        uint8 [16 h, 16 w, 3], with a short side of at most 256 and a long side of at most 1024
        pixels.
    """
    height, width = pixels.shape[:2]
    scale = min(1.0, SHORT_SIDE / min(height, width), LONGEST / max(height, width))
    columns, rows = (max(CELL, round(side * scale / CELL) * CELL) for side in (width, height))
    factor = int(min(width / columns, height / rows))
    if factor > 1:
        bands = memory.bands(-(-height // factor), 3 * factor * width)
        pixels = np.concatenate([_reduced(pixels, band, factor) for band in bands])
    return np.asarray(Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BILINEAR))


def _reduced(pixels: Pixels, band: slice, factor: int) -> Pixels:
    """Average factor x factor pixels in a band of rows of the result."""
    part = Image.fromarray(pixels[band.start * factor : band.stop * factor]).reduce(factor)
    memory.release(pixels)
    return np.asarray(part)


class StudentGuide:
    r"""Importance from codec.networks.student.

    The preset `default` uses sensitivity, `paper` and `attention` use attention. On the small copy
    letters are a grey texture, and sensitivity says nothing about them. Therefore the trust in
    `default` falls as the student becomes surer that it sees a document (docs/guidance.md).

    ::

        pixels -> small copy -> look -> log attention, log sensitivity -> importance per cell
                                    \-> document -> trust

    Args:
        look: runs the student.
        preset: default, paper or attention (guidance.PRESETS).
    """

    def __init__(self, look: Look, preset: str = "default") -> None:
        self.look = look
        self.preset = preset

    def __call__(self, pixels: Pixels) -> Importance | None:
        """Look at a picture; see importance.Guide."""
        attention, sensitivity, document = self.look(small_copy(pixels))
        if self.preset == "default":
            trust = float(1 / (1 + np.exp(document)))
            trust = trust if trust > LEAST_TRUST else 0.0
            return Importance(_softmax(sensitivity), "value", trust)
        rule: Rule = "paper" if self.preset == "paper" else "zscore"
        return Importance(_softmax(attention), rule)


def _softmax(logs: Floats) -> NDArray[np.float32]:
    shares = np.exp(logs - logs.max(), dtype=np.float32)
    return shares / shares.sum()
