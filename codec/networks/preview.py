"""A small picture from the latent's first channels alone: one linear layer, fitted when weights are exported."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Preview(nn.Module):
    """Dequantised channels [B, low, h, w] -> picture [B, 3, 2 h, 2 w], about 0..1: one eighth of the full sides.

    The channels hold the transform's lowest frequencies, of which the means of 8x8 pixels are nearly a linear function. Not
    trained by gradients but fitted by least squares (training.preview_fit).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, low: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(12, low, 3, 3))
        self.register_buffer("bias", torch.full((12,), 0.5))

    def forward(self, dequantised: Tensor) -> Tensor:
        return F.pixel_shuffle(F.conv2d(self.padded(dequantised), self.weight, self.bias), 2)

    @staticmethod
    def padded(dequantised: Tensor) -> Tensor:
        """One more position on all sides, repeating the edge."""
        return F.pad(dequantised, (1, 1, 1, 1), mode="replicate")
