"""A small picture from the latent's first channels alone, by one linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Preview(nn.Module):
    """A linear 3x3 layer from the preview's channels to a picture at 1/8 of the full sides.

    The channels hold the transform's lowest frequencies, and the means of 8x8 pixels are nearly a
    linear function of those (how nearly: `python -m benchmarks.levels`). The layer is not trained
    by gradients but fitted by least squares when weights are exported (training.fit.preview).

    Args:
        low: channels of the preview's layer of y.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, low: int) -> None:
        super().__init__()
        # Buffers, so that no optimizer trains them. 12 outputs: 2x2 pixels of three colours.
        self.register_buffer("weight", torch.zeros(12, low, 3, 3))
        self.register_buffer("bias", torch.full((12,), 0.5))

    def forward(self, dequantised: Tensor) -> Tensor:
        """Make the picture.

        Args:
            dequantised: [B, low, h, w], from Synthesis.dequantised.

        Returns:
            [B, 3, 2 h, 2 w], about 0..1, not clipped.
        """
        return F.pixel_shuffle(F.conv2d(self.padded(dequantised), self.weight, self.bias), 2)

    @staticmethod
    def padded(dequantised: Tensor) -> Tensor:
        """Add one position on all sides, repeating the edge."""
        return F.pad(dequantised, (1, 1, 1, 1), mode="replicate")
