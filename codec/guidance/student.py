"""The distilled student as a guide: offline, a few milliseconds. No torch here."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from codec import memory
from codec.guidance.importance import Floats, Importance, Pixels, Rule

STRIDE = 16
SHORT_SIDE = 256
LONGEST = 4 * SHORT_SIDE
LEAST_TRUST = 0.1

# Pixels of a small copy -> log attention [h, w], log sensitivity [h, w], log-odds of a document; see networks.student.
Look = Callable[[Pixels], tuple[Floats, Floats, float]]


def small_copy(pixels: Pixels) -> Pixels:
    """The picture with a short side of at most 256 and a long one of at most 1024 pixels, both multiples of 16."""
    height, width = pixels.shape[:2]
    scale = min(1.0, SHORT_SIDE / min(height, width), LONGEST / max(height, width))
    target = [max(STRIDE, round(side * scale / STRIDE) * STRIDE) for side in (width, height)]
    factor = int(min(width / target[0], height / target[1]))
    if factor > 1:
        pixels = np.concatenate(
            [
                _reduced(pixels, band, factor)
                for band in memory.bands(-(-height // factor), 3 * factor * width)
            ]
        )
    return np.asarray(
        Image.fromarray(pixels).resize((target[0], target[1]), Image.Resampling.BILINEAR)
    )


def _reduced(pixels: Pixels, band: slice, factor: int) -> Pixels:
    part = Image.fromarray(pixels[band.start * factor : band.stop * factor]).reduce(factor)
    memory.release(pixels)
    return np.asarray(part)


class StudentGuide:
    r"""Importance from codec.networks.student.

    preset `default`: sensitivity; `paper`, `attention`: attention. Text and plots are not for `default`: a tower's sensitivity,
    seen on a small copy, says nothing about letters, so the surer the student is of a document, the less it trusts itself.

    ::

        pixels -> small copy -> look -> log attention, log sensitivity -> importance, a cell per 16x16 of the small copy
                                    \-> document -> trust
    """

    def __init__(self, look: Look, preset: str = "default") -> None:
        self.look = look
        self.preset = preset

    def __call__(self, pixels: Pixels) -> Importance | None:
        attention, sensitivity, document = self.look(small_copy(pixels))
        if self.preset == "default":
            trust = float(1 / (1 + np.exp(document)))
            return Importance(_softmax(sensitivity), "value", trust if trust > LEAST_TRUST else 0.0)
        rule: Rule = "paper" if self.preset == "paper" else "zscore"
        return Importance(_softmax(attention), rule)


def _softmax(logs: Floats) -> NDArray[np.float32]:
    shares = np.exp(logs - logs.max(), dtype=np.float32)
    return shares / shares.sum()
