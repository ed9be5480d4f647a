"""The building block of the transforms: one depthwise and two pointwise layers, which is what runs fast everywhere."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.1


class ResidualBlock(nn.Module):
    """x + pointwise(leaky_relu(pointwise(depthwise 3x3(x)))); starts as the identity (its last layer is zero)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.project = nn.Conv2d(hidden, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.expand(self.depthwise(x))
        return x + self.project(F.leaky_relu(hidden, LEAK, inplace=not hidden.requires_grad))


def blocks(channels: int, count: int, hidden: int = 0) -> nn.Sequential:
    """`count` residual blocks in a row; hidden: channels between their pointwise layers, twice as many as outside if 0."""
    return nn.Sequential(*(ResidualBlock(channels, hidden or 2 * channels) for _ in range(count)))


class HalvingLayer(nn.Conv2d):
    """A 1x1 layer on what pixel_unshuffle(x, 2) gives, [B, C, 2 h, 2 w] -> [B, outputs, h, w], without the copy in between."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(4 * channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight.view(len(self.weight), -1, 2, 2), self.bias, stride=2)
