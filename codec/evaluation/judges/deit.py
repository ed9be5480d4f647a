"""DeiT-Tiny as a judge: whether it still finds the class, and how far its tokens move."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

import codec
from codec.errors import CodecError
from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Direction, JudgeUnavailable, PerPicture, Sample
from codec.tokens.adapters import find_adapter
from codec.tokens.decode import embedded
from codec.towers import LAST, Repairs, Tower, load_tower

TOWER = "timm:deit_tiny_patch16_224"
WEIGHTS = Path("weights") / "deit_tiny_patch16_224.safetensors"
# One class a line, in the order of the tower's outputs.
SYNSETS = Path("weights") / "imagenet_synsets.txt"
# Pixels of the short side before the crop, as in the tower's own evaluation.
RESIZE = 256
# Depth in the names of scores -> block.
LAYERS = {"shallow": 3, "middle": 8, "last": LAST}
SCORES: dict[str, Direction] = {
    "top1": "higher",
    "cross_entropy": "lower",
    **{f"token_mse_{layer}": "log" for layer in LAYERS},
    **{f"cosine_{layer}": "higher" for layer in LAYERS},
}


def load_deit(data: Path, layers: int | None = None) -> Tower:
    """DeiT-Tiny from below COTAM_DATA.

    Args:
        data: COTAM_DATA.
        layers: only its first blocks; None for all.

    Returns:
        The tower.

    Raises:
        CodecError: its weights are missing.
    """
    return load_tower(TOWER, str(data / WEIGHTS), layers)


def centre_crop(tower: Tower, height: int, width: int) -> tuple[tuple[int, int], int, int]:
    """The judge's view of a picture.

    Args:
        tower: the tower whose input the view fills.
        height: of the picture, in pixels.
        width: of the picture, in pixels.

    Returns:
        ((rows, columns) to resize the picture to, top, left of the crop).
    """
    scale = RESIZE / min(height, width)
    sides = round(height * scale), round(width * scale)
    return sides, (sides[0] - tower.size[0]) // 2, (sides[1] - tower.size[1]) // 2


def centre_view(tower: Tower, pictures: Tensor) -> Tensor:
    """The view of `DeitJudge.look`, differentiable.

    Args:
        tower: DeiT-Tiny.
        pictures: float [B, 3, H, W] in 0..1.

    Returns:
        The tower's input [B, 3, 224, 224].
    """
    sides, top, left = centre_crop(tower, *pictures.shape[-2:])
    resized = F.interpolate(
        pictures, sides, mode="bicubic", antialias=True, align_corners=False
    ).clamp(0, 1)
    rows, columns = tower.size
    return tower.normalize(resized[..., top : top + rows, left : left + columns])


class DeitJudge:
    """Classes and tokens of DeiT-Tiny.

    top1 (0 or 1) and cross_entropy (nats) are against the label, or against the tower's own class
    of the original. token_mse and cosine are to the original's tokens, for three depths: means over
    all tokens, the class token among them, and for token_mse over channels.
    """

    name = "deit"
    folder = "eval/imagenet"
    note = (
        "DeiT-Tiny/16 at 224 pixels, supervised on ImageNet; it is not CLIP. "
        "Short side resized to 256 (bicubic), centre crop. "
        f"Tokens: shallow = block {LAYERS['shallow']}, middle = block {LAYERS['middle']}, "
        "last = after the final norm."
    )

    def __init__(self, data: Path) -> None:
        """Load the tower. Raises JudgeUnavailable."""
        self.data = data
        self.scores = SCORES
        try:
            self.tower = load_deit(data)
            self.classes = {
                line.split()[0]: k
                for k, line in enumerate((data / SYNSETS).read_text().splitlines())
            }
        except (CodecError, OSError) as error:
            raise JudgeUnavailable(f"DeiT-Tiny cannot judge: {error}") from error
        self.reference = PerPicture(self.tokens)
        self.original_class = PerPicture(self.class_of)
        self.adapter = lru_cache(maxsize=2)(find_adapter)

    def pictures(self) -> list[Sample]:
        """Photographs of ImageNet, their class from the file's name."""
        paths = sorted((self.data / self.folder).glob("n*.jpg"))
        return [Sample(path, self.classes[path.name.split("_")[0]]) for path in paths]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """SCORES of a decoded picture; truth: its class 0..999, or None."""
        truth = self.original_class(original) if truth is None else truth
        with torch.inference_mode():
            tokens, logits = self.tower.tokens_and_classes(
                self.look(decoded), list(LAYERS.values())
            )
        return self._scores(self.reference(original), tokens, logits, truth)

    @torch.inference_mode()
    def class_of(self, pixels: Pixels) -> int:
        """The class 0..999 that the tower predicts for a picture."""
        return int(self.tower.classify(self.look(pixels)).argmax())

    @torch.inference_mode()
    def judge_tokens(
        self, original: Pixels, cotam: codec.Codec, data: bytes, truth: Any
    ) -> dict[str, float]:
        """As `judge`, for a file whose tokens its adapter repairs.

        Args:
            original: uint8 [H, W, 3].
            cotam: the codec of the file.
            data: the file.
            truth: its class 0..999.

        Returns:
            SCORES.

        Raises:
            AdapterUnavailable: no shipped adapter is for these weights and this tower.
        """
        embedding, repairs = self.repaired(cotam, data)
        tokens, logits = self.tower.continued_and_classes(embedding, list(LAYERS.values()), repairs)
        return self._scores(self.reference(original), tokens, logits, truth)

    @torch.inference_mode()
    def repaired(self, cotam: codec.Codec, data: bytes) -> tuple[Tensor, Repairs]:
        """The embedding of a file in this view, and the repairs of later layers (`embedded`).

        Args:
            cotam: the codec of the file.
            data: the file.

        Raises:
            AdapterUnavailable: no shipped adapter is for these weights and this tower.
        """
        adapter = self.adapter(cotam.fingerprint, self.tower.signature, self.tower.name)
        decoded = cotam.decode_full(data)
        pixels = decoded.picture.pixels
        box = self.box(*pixels.shape[:2])
        return embedded(cotam.backend, decoded, self.tower, adapter, self.look(pixels), box)

    def _scores(
        self, reference: dict[int, Tensor], tokens: dict[int, Tensor], logits: Tensor, truth: Any
    ) -> dict[str, float]:
        scores = {
            "top1": float(int(logits.argmax()) == truth),
            "cross_entropy": float(F.cross_entropy(logits, torch.tensor([truth]))),
        }
        for name, layer in LAYERS.items():
            error = (tokens[layer] - reference[layer]).square().mean()
            cosine = F.cosine_similarity(tokens[layer], reference[layer], dim=-1).mean()
            scores[f"token_mse_{name}"] = float(error)
            scores[f"cosine_{name}"] = float(cosine)
        return scores

    def look(self, pixels: Pixels) -> Tensor:
        """A picture [H, W, 3] as the tower's input [1, 3, 224, 224]."""
        image = Image.fromarray(pixels)
        sides, top, left = centre_crop(self.tower, image.height, image.width)
        image = image.resize((sides[1], sides[0]), Image.Resampling.BICUBIC)
        rows, columns = self.tower.size
        cropped = np.array(image.crop((left, top, left + columns, top + rows)))
        return self.tower.normalize(torch.from_numpy(cropped).permute(2, 0, 1)[None].float() / 255)

    def box(self, height: int, width: int) -> Tensor:
        """What `look` shows of a picture: left, top, right, bottom in its pixels [1, 4]."""
        sides, top, left = centre_crop(self.tower, height, width)
        rows, columns = self.tower.size
        x = width / sides[1]
        y = height / sides[0]
        return torch.tensor([[left * x, top * y, (left + columns) * x, (top + rows) * y]])

    @torch.inference_mode()
    def tokens(self, pixels: Pixels) -> dict[int, Tensor]:
        """{layer: [1, tokens, width]} of a picture [H, W, 3]."""
        return self.tower.tokens(self.look(pixels), list(LAYERS.values()))
