"""The token adapter: it corrects a vision tower's tokens with information from the latents."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import roi_align

from codec.networks.config import T_LIMIT
from codec.networks.gains import qp_to_t


@dataclass(frozen=True)
class AdapterConfig:
    """Widths and depth of a token adapter.

    Attributes:
        channels: channels of the codec's latent y.
        width: channels of the tower's tokens.
        rows: rows of the tower's patch grid.
        columns: columns of the tower's patch grid.
        prefix: the tower's tokens before the patches, such as the class token.
        inner: channels of the adapter's transformer blocks, a multiple of `heads`.
        heads: attention heads of each block.
        expansion: width of each block's MLP, as a multiple of `inner`.
        blocks: number of transformer blocks, at least 1.
        sees: whether the adapter reads the tokens that it repairs, in addition to the latents.
        patches_only: whether the prefix tokens are left unchanged.
        head: whether a linear layer, which starts at zero, maps from `inner` to `width`. The
            published adapter has none, and `inner` is the tower's width.

    Raises:
        ValueError: `inner` is not a multiple of `heads`, there are no blocks, or `inner` is not
            `width` where there is no head.
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
    head: bool = True

    def __post_init__(self) -> None:
        if self.inner % self.heads:
            raise ValueError("an adapter's inner width must be a multiple of its heads")
        if self.blocks < 1:
            raise ValueError("an adapter has at least one block")
        if not self.head and self.inner != self.width:
            raise ValueError("an adapter without a head is as wide as the tower's tokens")


class TokenAdapter(nn.Module):
    """tokens = tower_embedding(decoded picture) + adapter(latents), as in arXiv 2509.24258.

    With `sees` it is adapter(latents, tokens): the correction then depends on the tokens as well,
    which may be those of a later layer of the tower. The output starts at zero where there is a
    head. The blocks are `inner` channels wide, not as wide as the tower, so that they cost little
    compared with decoding.

    ::

        latents + QP -> boxes, on the grid -> linear -> + positions --+
                                                       class token ---+--> + (A)
        tokens [N, prefix + patches, width] -> LayerNorm -> linear --------^   (only if `sees`)

        (A) -> LayerNorm -> transformer blocks -> linear (`head`) -> [N, tokens, width]
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
            # Shipped files name its parameters `seen`.
            self.seen = nn.Sequential(nn.LayerNorm(config.width), nn.Linear(config.width, inner))
        blocks = [_block(config) for _ in range(config.blocks)]
        self.block = blocks[0] if config.blocks == 1 else nn.Sequential(*blocks)
        self.head: nn.Module = _head(config) if config.head else nn.Identity()

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Compute the correction of a tower's tokens.

        Args:
            x: latents at the tower's patches, [N, channels + 1, rows, columns] from `sample`. The
                grid may have any size.
            tokens: the tower's tokens of the decoded picture, [N, prefix + rows * columns, width].

        Returns:
            What to add to the tokens, of the same shape.
        """
        positions: Tensor = self.positions
        if positions.shape[-2:] != x.shape[-2:]:
            # A tower with another input size has another grid than the one in training.
            positions = F.interpolate(positions, x.shape[-2:], mode="bicubic", align_corners=False)
        x = self.stem(x.flatten(2).transpose(1, 2)) + positions.flatten(2).transpose(1, 2)
        x = torch.cat([self.prefix.expand(len(x), -1, -1), x], 1)
        if self.config.sees:
            x = x + self.seen(tokens)
        correction: Tensor = self.head(self.block(self.norm(x)))
        if not self.config.patches_only:
            return correction
        prefix = self.config.prefix
        # The class token cannot be learned from so few: each crop has only one
        # (checkpoints/TRAINING.md).
        return F.pad(correction[:, prefix:], (0, 0, prefix, 0))

    def later_blocks(self, stored: set[str]) -> list[nn.TransformerEncoderLayer]:
        """Return this adapter's blocks that a stored adapter does not have.

        Args:
            stored: names of the stored adapter's parameters.

        Returns:
            The blocks whose parameters are not among them; none for an adapter of one block.
        """
        if isinstance(self.block, nn.TransformerEncoderLayer):
            return []
        blocks = (
            block for k, block in enumerate(self.block) if f"block.{k}.linear1.weight" not in stored
        )
        return [block for block in blocks if isinstance(block, nn.TransformerEncoderLayer)]


def _head(config: AdapterConfig) -> nn.Linear:
    head = nn.Linear(config.inner, config.width)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


def _block(config: AdapterConfig) -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        config.inner,
        config.heads,
        config.expansion * config.inner,
        dropout=0.0,
        activation="gelu",
        batch_first=True,
        norm_first=True,
    )


def sample(
    latents: Tensor, qp: Tensor, grid: tuple[int, int], boxes: Tensor | None = None
) -> Tensor:
    """Resample latents and QPs to a tower's patches.

    Args:
        latents: [B, channels, h, w], dequantised (Synthesis.dequantised).
        qp: QPs 0..63, [B, h, w], or [B, 1, 1] for one QP per picture.
        grid: (rows, columns) of the tower's patches.
        boxes: [N, 5], what the tower sees: the picture's index, then left, top, right and bottom
            in latent positions, which may lie beyond the picture. Default: all of each picture.

    Returns:
        [N, channels + 1, rows, columns]; the last channel is t / T_LIMIT in -1..1.
    """
    t = (qp_to_t(qp.float()) / T_LIMIT)[:, None].expand(-1, -1, *latents.shape[-2:])
    # Squashed to -10..10, as the hyper-analysis does with its input.
    x = torch.cat([latents / (1 + 0.1 * latents.abs()), t], 1)
    return roi_align(x, whole(latents) if boxes is None else boxes, grid, aligned=True)


def whole(latents: Tensor) -> Tensor:
    """Return boxes over all of each picture.

    Args:
        latents: [B, channels, h, w].

    Returns:
        [B, 5]: the picture's index, then left, top, right and bottom in latent positions.
    """
    h, w = latents.shape[-2:]
    boxes = latents.new_tensor([[0.0, 0.0, 0.0, w, h]]).repeat(len(latents), 1)
    boxes[:, 0] = torch.arange(len(latents))
    return boxes
