"""The building block of the transforms: one depthwise and two pointwise layers, which is what runs fast everywhere."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

LEAK = 0.1


class ResidualBlock(nn.Module):
    """x + pointwise(leaky_relu(pointwise(depthwise 3x3(x)))); starts as the identity (its last layer is zero)."""

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.expand = nn.Conv2d(channels, expansion * channels, 1)
        self.project = nn.Conv2d(expansion * channels, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(F.leaky_relu(self.expand(self.depthwise(x)), LEAK))


def blocks(channels: int, count: int) -> nn.Sequential:
    """`count` residual blocks in a row."""
    return nn.Sequential(*(ResidualBlock(channels) for _ in range(count)))
