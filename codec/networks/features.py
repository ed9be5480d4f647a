"""The feature network: a small convolutional stand-in for a vision tower, of any input size.

It predicts a tower's tokens at several depths, one for each 16x16 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CELL = 16  # pixels of a token, along a side


@dataclass(frozen=True)
class FeatureConfig:
    """Sizes of a feature network.

    Attributes:
        widths: channels at 1/8 and 1/16 of the input.
        depths: residual blocks at 1/8 and 1/16 of the input; at least one at 1/16.
        levels: depths of the tower that are predicted, shallow first; at least two.
        tokens: channels of a token, which is projected on its main axes.
    """

    widths: tuple[int, int] = (96, 160)
    depths: tuple[int, int] = (1, 2)
    levels: int = 3
    tokens: int = 96


class FeatureBlock(nn.Module):
    """x + conv 3x3(gelu(conv 3x3(x))); it starts as the identity.

    Dense layers, because a processor's matrix units do them four times as fast as depthwise ones
    of as many parameters.

    Args:
        channels: channels of the input and the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.kaiming_normal_(self.first.weight, nonlinearity="relu")
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, h, w] to the same shape."""
        return x + self.second(F.gelu(self.first(x)))


class FeatureNetwork(nn.Module):
    r"""Pixels -> predicted tokens of a tower, in units of their deviation.

    ::

        x -> 8x8/8 -> blocks -> 2x2/2 -> block --+-> + context -> blocks --+-> 1x1 -> other tokens
             1/8               1/16              |                         |
                                                 1x1 -> tokens[0]          mean -> class token

    `context` is a layer on the mean over the picture, after the first block at 1/16.

    Args:
        config: sizes.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.config = config
        b, c = config.widths
        self.stem = nn.Conv2d(3, b, 8, stride=8)
        self.blocks8 = _blocks(b, config.depths[0])
        self.down16 = nn.Conv2d(b, c, 2, stride=2)
        self.blocks16 = _blocks(c, config.depths[1])
        self.context = nn.Conv2d(c, c, 1)
        self.shallow = nn.Conv2d(c, config.tokens, 1)
        self.deeper = nn.Conv2d(c, config.tokens * (config.levels - 1), 1)
        self.summary = nn.Conv2d(c, c, 1)
        self.whole = nn.Linear(c, config.tokens)
        nn.init.zeros_(self.context.weight)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Look at pictures.

        Args:
            x: [B, 3, H, W] in 0..1, sides of at least 16.

        Returns:
            tokens: for each level [B, tokens, H // 16, W // 16].
            whole: [B, tokens], the class token of the last level.
        """
        x = self.blocks16[0](self.down16(self.blocks8(self.stem(4 * x - 2))))
        shallow = self.shallow(F.gelu(x))
        x = x + self.context(F.gelu(x).mean((2, 3), keepdim=True))
        x = F.gelu(self.blocks16[1:](x))
        tokens = [shallow, *self.deeper(x).chunk(self.config.levels - 1, 1)]
        return tokens, self.whole(F.gelu(self.summary(x)).mean((2, 3)))


def _blocks(channels: int, count: int) -> nn.Sequential:
    return nn.Sequential(*(FeatureBlock(channels) for _ in range(count)))
