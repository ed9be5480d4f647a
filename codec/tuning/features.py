"""The feature network: the first blocks of a vision transformer, distilled from a larger tower.

It serves tuning (codec.tuning) where no tower is at hand.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 16  # pixels of a token, along a side
EPSILON = 1e-6  # of the layer norms, as in the towers


@dataclass(frozen=True)
class FeatureConfig:
    """Sizes of a feature network.

    Attributes:
        width: channels of a token, those of the tower that it follows.
        heads: of the attention; they divide `width`.
        depth: blocks; block k follows the tower's block k.
        hidden: channels inside a block's two layers.
        side: tokens along a side of the input.
    """

    width: int = 192
    heads: int = 3
    depth: int = 4
    hidden: int = 640
    side: int = 14

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of the input in pixels."""
        return self.side * PATCH, self.side * PATCH


class FeatureBlock(nn.Module):
    """A transformer block: attention, then two layers, each added to what it reads normalised.

    Args:
        config: sizes.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        c = config.width
        self.heads = config.heads
        self.norm1 = nn.LayerNorm(c, eps=EPSILON)
        self.qkv = nn.Linear(c, 3 * c)
        self.out = nn.Linear(c, c)
        self.norm2 = nn.LayerNorm(c, eps=EPSILON)
        self.expand = nn.Linear(c, config.hidden)
        self.project = nn.Linear(config.hidden, c)
        for layer in (self.qkv, self.out, self.expand, self.project):
            nn.init.normal_(layer.weight, std=0.05)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, n, width] to the same shape."""
        b, n, c = x.shape
        q, k, v = (
            self.qkv(self.norm1(x))
            .view(b, n, 3, self.heads, c // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, c)
        x = x + self.out(seen)
        return x + self.project(F.gelu(self.expand(self.norm2(x))))


class FeatureNetwork(nn.Module):
    """Pixels -> tokens of several depths.

    ::

        x -> 16x16/16 + place, class token -> tokens 0 -> block 1 -> tokens 1 .. block `depth`

    Args:
        config: sizes.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        c = config.width
        self.config = config
        self.stem = nn.Conv2d(3, c, PATCH, stride=PATCH)
        self.place = nn.Parameter(torch.zeros(1, c, config.side, config.side))
        self.cls = nn.Parameter(torch.zeros(1, 1, c))
        self.blocks = nn.ModuleList(FeatureBlock(config) for _ in range(config.depth))

    def embed(self, x: Tensor) -> Tensor:
        """Tokens 0 [B, 1 + side * side, width] of pictures [B, 3, 16 side, 16 side] in 0..1."""
        tokens = (self.stem(4 * x - 2) + self.place).flatten(2).transpose(1, 2)
        return torch.cat([self.cls.expand(len(x), 1, -1).to(tokens.dtype), tokens], 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Look at pictures.

        Args:
            x: [B, 3, 16 side, 16 side] in 0..1.

        Returns:
            Tokens 0..depth, [B, 1 + side * side, width] each, the class token first.
        """
        tokens = [self.embed(x)]
        for block in self.blocks:
            tokens.append(block(tokens[-1]))
        return tokens
