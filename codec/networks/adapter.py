"""The token adapter: what a codec's latents tell a vision tower beyond the decoded pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.gains import T_LIMIT, qp_to_t


@dataclass(frozen=True)
class AdapterConfig:
    """channels: of the codec's latents; width, rows, columns, prefix: the tower's; heads, expansion: of the block."""

    channels: int
    width: int
    rows: int
    columns: int
    prefix: int
    heads: int = 3
    expansion: int = 4

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError("an adapter's width must be a multiple of its heads")


class TokenAdapter(nn.Module):
    """tokens = tower_embedding(decoded picture) + adapter(latents), as in arXiv 2509.24258; starts at zero.

    ::

        latents + QP -> resampled to the grid -> linear -> + positions --+--> LayerNorm -> one transformer block -> linear (zero)
                                                          class token ---+
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.stem = nn.Linear(config.channels + 1, width)
        self.prefix = nn.Parameter(torch.randn(1, config.prefix, width) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, width, config.rows, config.columns) * 0.02)
        self.norm = nn.LayerNorm(width)
        expanded = config.expansion * width
        self.block = nn.TransformerEncoderLayer(
            width, config.heads, expanded, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.head = nn.Linear(width, width)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, latents: Tensor, qp: Tensor, grid: tuple[int, int] | None = None) -> Tensor:
        """latents: [B, channels, h, w], dequantised (Synthesis.dequantised), over the whole picture; qp: [B, h, w] or [B, 1, 1];
        grid: (rows, columns) wanted, the tower's own if not given. Returns [B, prefix + rows * columns, width].
        """
        rows, columns = grid or (self.config.rows, self.config.columns)
        t = (qp_to_t(qp.float()) / T_LIMIT)[:, None].expand(-1, -1, *latents.shape[-2:])
        x = torch.cat([latents / (1 + 0.1 * latents.abs()), t], 1)
        x = F.interpolate(x, (rows, columns), mode="bilinear", antialias=True, align_corners=False)
        positions: Tensor = self.positions
        if positions.shape[-2:] != (rows, columns):
            positions = F.interpolate(positions, (rows, columns), mode="bicubic", align_corners=False)
        x = self.stem(x.flatten(2).transpose(1, 2)) + positions.flatten(2).transpose(1, 2)
        x = torch.cat([self.prefix.expand(len(x), -1, -1), x], 1)
        return self.head(self.block(self.norm(x)))
