"""Several judges of the same photographs, so that each file is made once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Direction, Judge, Sample
from codec.evaluation.judges.deit import DeitJudge
from codec.evaluation.judges.lite0 import Lite0Judge

PIXELS = "pixels_mse"


class PhotographsJudge:
    """DeiT-Tiny's scores, EfficientNet-Lite0's, and the squared error of pixels in 0..255.

    The scores' names begin with the judge's: `deit_top1`, `lite0_feature_error`, `pixels_mse`.
    """

    name = "photographs"
    folder = "eval/imagenet"

    def __init__(self, data: Path) -> None:
        """Load the networks. Raises JudgeUnavailable."""
        self.judges: list[Judge] = [DeitJudge(data), Lite0Judge(data)]
        self.note = " ".join(judge.note for judge in self.judges)
        self.scores: dict[str, Direction] = {
            f"{judge.name}_{score}": direction
            for judge in self.judges
            for score, direction in judge.scores.items()
        }
        self.scores[PIXELS] = "log"

    def pictures(self) -> list[Sample]:
        """Photographs of ImageNet, their class from the file's name."""
        return self.judges[0].pictures()

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """All scores of a decoded picture; truth: its class 0..999, or None."""
        scores = {
            f"{judge.name}_{score}": value
            for judge in self.judges
            for score, value in judge.judge(original, decoded, truth).items()
        }
        error = np.square(decoded.astype(np.float32) - original).mean()
        return scores | {PIXELS: float(error)}
