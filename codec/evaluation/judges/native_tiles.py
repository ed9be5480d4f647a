"""DeiT-Tiny at native resolution: how far its tokens move on tiles that are not resized.

::

    picture -> tiles of 224x224, edges repeated to fill the last ones -> DeiT-Tiny -> last tokens
    sum |tokens - original's tokens|^2 / sum |original's tokens|^2

A whole screenshot squashed to 224 pixels has no text left; tiles at native size show what a tower
with a larger input sees.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.errors import CodecError
from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Direction, JudgeUnavailable, PerPicture, Sample
from codec.evaluation.judges.deit import load_deit
from codec.towers import LAST

# About 1.5 s a picture with one thread.
MOST_TILES = 24
# Tiles that the tower sees at once; bounds the memory.
BATCH = 8


def tiles(pixels: Pixels, side: int, most: int = MOST_TILES) -> Pixels:
    """Square tiles of a picture without overlap.

    Args:
        pixels: uint8 [H, W, 3].
        side: of a tile, in pixels.
        most: use at most this many tiles, evenly spaced.

    Returns:
        uint8 [tiles, side, side, 3], in rows from the top left; the last row and column of pixels
        are repeated to fill tiles that reach beyond the picture.
    """
    height, width, channels = pixels.shape
    rows = -(-height // side)
    columns = -(-width // side)
    count = rows * columns
    chosen = [k * count // most for k in range(most)] if count > most else list(range(count))
    cut = np.empty((len(chosen), side, side, channels), np.uint8)
    for place, number in enumerate(chosen):
        top = number // columns * side
        left = number % columns * side
        part = pixels[top : top + side, left : left + side]
        missing = side - part.shape[0], side - part.shape[1]
        cut[place] = np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    return cut


class NativeTilesJudge:
    """Relative squared error of the last tokens on tiles at native resolution; 0 is exact."""

    name = "native_tiles"
    folder = "eval/screens"

    def __init__(self, data: Path, most_tiles: int = MOST_TILES) -> None:
        """Load DeiT-Tiny.

        Args:
            data: COTAM_DATA.
            most_tiles: use at most this many tiles of a picture, evenly spaced.

        Raises:
            JudgeUnavailable: its weights are missing.
        """
        self.data = data
        self.most_tiles = most_tiles
        self.scores: dict[str, Direction] = {"token_error": "log"}
        try:
            self.tower = load_deit(data)
        except (CodecError, OSError) as error:
            raise JudgeUnavailable(f"DeiT-Tiny cannot judge: {error}") from error
        self.note = (
            f"DeiT-Tiny/16, supervised on ImageNet, on tiles of {self.tower.size[0]} pixels at "
            f"native resolution without overlap, at most {most_tiles} of a picture: "
            "squared error of its last tokens relative to their own square."
        )
        self.reference = PerPicture(self.tokens)

    def pictures(self) -> list[Sample]:
        """The screenshots, by name."""
        paths = sorted((self.data / self.folder).iterdir())
        return [Sample(path, None) for path in paths if path.suffix in (".png", ".jpg")]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """{"token_error": 0..} of a decoded picture [H, W, 3], compared with its original."""
        return {"token_error": float(self.errors(original, decoded)[0])}

    def errors(self, original: Pixels, decoded: Pixels) -> tuple[float, NDArray[np.float32]]:
        """Squared errors relative to the mean square of the original's tiles.

        Args:
            original: uint8 [H, W, 3].
            decoded: uint8 [H, W, 3].

        Returns:
            The mean over the tiles, and the error of each tile [tiles].
        """
        reference = self.reference(original)
        lost = (self.tokens(decoded) - reference).square().sum((1, 2))
        square = reference.square().sum((1, 2)).mean()
        of_tiles = (lost / square).numpy()
        return float(of_tiles.mean()), of_tiles

    @torch.inference_mode()
    def tokens(self, pixels: Pixels) -> Tensor:
        """[tiles, tokens, width]."""
        cut = torch.from_numpy(tiles(pixels, self.tower.size[0], self.most_tiles))
        tokens = []
        for part in cut.split(BATCH):
            x = self.tower.normalize(part.permute(0, 3, 1, 2).float() / 255)
            tokens.append(self.tower.tokens(x, [LAST])[LAST].float())
        return torch.cat(tokens)
