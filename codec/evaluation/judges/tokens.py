"""Any vision tower as a judge: how far the tokens of the whole picture move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.errors import CodecError
from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Direction, JudgeUnavailable, PerPicture, Sample
from codec.evaluation.judges.deit import TOWER, WEIGHTS
from codec.towers import LAST, load_tower


class TokenJudge:
    """Mean squared error and cosine of the last tokens to the original's.

    The picture is squashed to the tower's input size.
    """

    name = "tokens"
    folder = "eval/charts"

    def __init__(self, data: Path, tower: str | None = None, weights: str | None = None) -> None:
        """Load the tower.

        Args:
            data: COTAM_DATA.
            tower: as for codec.towers.load_tower; DeiT-Tiny if not given.
            weights: of `tower`.

        Raises:
            JudgeUnavailable: the tower or its weights are missing.
        """
        self.data = data
        self.scores: dict[str, Direction] = {"token_mse_last": "log", "cosine_last": "higher"}
        try:
            self.tower = (
                load_tower(tower, weights) if tower else load_tower(TOWER, str(data / WEIGHTS))
            )
        except (CodecError, OSError) as error:
            raise JudgeUnavailable(f"the tower cannot judge: {error}") from error
        self.note = (
            f"{self.tower.name}, the whole picture squashed to {self.tower.size[0]} pixels: "
            "its last tokens."
        )
        self.reference = PerPicture(self.tokens)

    def pictures(self) -> list[Sample]:
        """The charts."""
        paths = sorted((self.data / self.folder).iterdir())
        return [Sample(path, None) for path in paths if path.suffix in (".png", ".jpg")]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """token_mse_last and cosine_last of a decoded picture; truth is not used."""
        reference = self.reference(original)
        tokens = self.tokens(decoded)
        return {
            "token_mse_last": float((tokens - reference).square().mean()),
            "cosine_last": float(F.cosine_similarity(tokens, reference, dim=-1).mean()),
        }

    @torch.inference_mode()
    def tokens(self, pixels: Pixels) -> Tensor:
        """[1, tokens, width] of a picture [H, W, 3]."""
        x = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None].float() / 255
        return self.tower.tokens(self.tower.prepare(x), [LAST])[LAST].float()
