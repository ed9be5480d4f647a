"""The token adapter: what a codec's latents tell a vision tower beyond the decoded pixels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from codec.networks.gains import T_LIMIT, qp_to_t


@dataclass(frozen=True)
class AdapterConfig:
    """channels: of the codec's latents; width, rows, columns, prefix: the tower's; inner, heads, expansion: of each block.

    blocks: how many; sees: whether the adapter looks at the tokens that it repairs beside the latents; patches_only: whether it
    leaves the prefix, the class token, as it is.
    """

    channels: int
    width: int
    rows: int
    columns: int
    prefix: int
    inner: int = 192
    heads: int = 3
    expansion: int = 4
    blocks: int = 1
    sees: bool = False
    patches_only: bool = False

    def __post_init__(self) -> None:
        if self.inner % self.heads:
            raise ValueError("an adapter's inner width must be a multiple of its heads")
        if self.blocks < 1:
            raise ValueError("an adapter has at least one block")


class TokenAdapter(nn.Module):
    """tokens = tower_embedding(decoded picture) + adapter(latents), as in arXiv 2509.24258; starts at zero.

    If it `sees`, it is adapter(latents, tokens): what is to be repaired depends on what is there, and the tokens may be those of a
    later layer. The blocks are as wide as `inner`, not as the tower, so that they cost little beside decoding.

    ::

        latents + QP -> boxes, on the grid -> linear -> + positions --+--> + --> LayerNorm -> transformer blocks -> linear (zero)
                                                       class token ---+    |
        tokens [N, prefix + patches, width] -> LayerNorm -> linear --------+
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        inner = config.inner
        self.stem = nn.Linear(config.channels + 1, inner)
        self.prefix = nn.Parameter(torch.randn(1, config.prefix, inner) * 0.02)
        self.positions = nn.Parameter(torch.randn(1, inner, config.rows, config.columns) * 0.02)
        self.norm = nn.LayerNorm(inner)
        if config.sees:
            self.seen = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, inner))
        blocks = [_block(config) for _ in range(config.blocks)]
        self.block = blocks[0] if config.blocks == 1 else nn.Sequential(*blocks)
        self.head = nn.Linear(inner, config.width)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """x: latents at the tower's patches [N, channels + 1, rows, columns] (`sample`), of any grid; tokens: the tower's own of
        the decoded picture [N, prefix + rows * columns, width]. Returns what is to be added to them, of the same shape.
        """
        positions: Tensor = self.positions
        if positions.shape[-2:] != x.shape[-2:]:
            positions = F.interpolate(positions, x.shape[-2:], mode="bicubic", align_corners=False)
        x = self.stem(x.flatten(2).transpose(1, 2)) + positions.flatten(2).transpose(1, 2)
        x = torch.cat([self.prefix.expand(len(x), -1, -1), x], 1)
        if self.config.sees:
            x = x + self.seen(tokens)
        added: Tensor = self.head(self.block(self.norm(x)))
        return (
            F.pad(added[:, self.config.prefix :], (0, 0, self.config.prefix, 0))
            if self.config.patches_only
            else added
        )

    def later_blocks(self, stored: set[str]) -> list[nn.TransformerEncoderLayer]:
        """The blocks of which an adapter with parameters of these names has none."""
        if isinstance(self.block, nn.TransformerEncoderLayer):
            return []
        blocks = (
            block for k, block in enumerate(self.block) if f"block.{k}.linear1.weight" not in stored
        )
        return [block for block in blocks if isinstance(block, nn.TransformerEncoderLayer)]


def _block(config: AdapterConfig) -> nn.TransformerEncoderLayer:
    expanded = config.expansion * config.inner
    return nn.TransformerEncoderLayer(
        config.inner,
        config.heads,
        expanded,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )


def sample(
    latents: Tensor, qp: Tensor, grid: tuple[int, int], boxes: Tensor | None = None
) -> Tensor:
    """Latents and QPs at a tower's patches [N, channels + 1, rows, columns].

    latents: [B, channels, h, w], dequantised (Synthesis.dequantised); qp: [B, h, w] or [B, 1, 1]; grid: (rows, columns); boxes:
    [N, 5], number of the picture and left, top, right, bottom of what the tower sees of it, in latent positions, also beyond the
    picture; all of each picture if not given.
    """
    t = (qp_to_t(qp.float()) / T_LIMIT)[:, None].expand(-1, -1, *latents.shape[-2:])
    x = torch.cat([latents / (1 + 0.1 * latents.abs()), t], 1)
    return roi_align(x, whole(latents) if boxes is None else boxes, grid, aligned=True)


def whole(latents: Tensor) -> Tensor:
    """Boxes [B, 5] over all of each picture."""
    h, w = latents.shape[-2:]
    boxes = latents.new_tensor([[0.0, 0.0, 0.0, w, h]]).repeat(len(latents), 1)
    boxes[:, 0] = torch.arange(len(latents))
    return boxes
