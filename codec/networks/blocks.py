"""The building block of the transforms: one depthwise and two pointwise layers.

Only such layers are used because they run fast on every processor.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.config import LEAK as LEAK


class ResidualBlock(nn.Module):
    """x + pointwise(leaky_relu(pointwise(depthwise 3x3(x)))).

    It starts as the identity: the weights of its last layer are zero.

    Args:
        channels: channels of the input and the output.
        hidden: channels between the two pointwise layers.
    """

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.expand = nn.Conv2d(channels, hidden, 1)
        self.project = nn.Conv2d(hidden, channels, 1)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, h, w] to the same shape."""
        hidden = self.expand(self.depthwise(x))
        return x + self.project(F.leaky_relu(hidden, LEAK, inplace=not hidden.requires_grad))


def blocks(channels: int, count: int, hidden: int = 0) -> nn.Sequential:
    """Build residual blocks in a row.

    Args:
        channels: channels of the input and the output.
        count: number of blocks.
        hidden: channels inside a block; 0 for twice `channels`.

    Returns:
        The blocks in a sequence.
    """
    return nn.Sequential(*(ResidualBlock(channels, hidden or 2 * channels) for _ in range(count)))


class HalvingLayer(nn.Conv2d):
    """A 1x1 layer on pixel_unshuffle(x, 2), without the copy that pixel_unshuffle makes.

    It is computed as a 2x2 convolution of stride 2. The weights keep the shape of the 1x1 layer.

    Args:
        channels: channels of the input.
        outputs: channels of the output.
    """

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__(4 * channels, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, 2 h, 2 w] to [B, outputs, h, w]."""
        return F.conv2d(x, self.weight.view(len(self.weight), -1, 2, 2), self.bias, stride=2)
