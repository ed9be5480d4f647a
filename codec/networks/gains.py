"""Per-channel quantities that depend on the QP of a place: step sizes and embeddings.

Both are tables of one row per QP, interpolated linearly between a few learned anchors.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.config import ANCHORS as ANCHORS
from codec.networks.config import QP_COUNT, QP_MAX, T_LIMIT
from codec.networks.integer import CLIP, UNIT, round_half_up

ANCHOR_DISTANCE = QP_MAX // (ANCHORS - 1)  # QPs between two anchors


def qp_to_t(qp: Tensor) -> Tensor:
    """Convert QPs to the coordinate t in which training draws its rates.

    Args:
        qp: QPs 0..63, of any shape.

    Returns:
        t in -T_LIMIT..T_LIMIT, of the same shape. The quantization step is proportional to
        exp(-t) before training.
    """
    return (qp / QP_MAX * 2 - 1) * T_LIMIT


def interpolation_matrix() -> Tensor:
    """Return the weights of the anchors for every QP.

    Returns:
        [64, ANCHORS]; row q holds the weights of the two anchors around QP q and zeros.
    """
    position = torch.arange(QP_COUNT, dtype=torch.float32) * (ANCHORS - 1) / QP_MAX
    distance = (position[:, None] - torch.arange(ANCHORS)).abs()
    return (1 - distance).clamp(min=0)


def look_up(table: Tensor, qp: Tensor) -> Tensor:
    """Look up table rows by QP.

    A QP between two rows interpolates them linearly, so that a loss has a gradient with respect
    to a float QP field.

    Args:
        table: [64, C].
        qp: QPs 0..63, integer or float: a field [B, H, W] or one QP per picture [B, 1, 1].

    Returns:
        [B, C, H, W].
    """
    if not qp.is_floating_point():
        return F.embedding(qp, table).permute(0, 3, 1, 2)
    lower = qp.detach().floor().clamp(0, QP_MAX)
    share = (qp - lower)[..., None]
    # The gradient reaches qp through `share` alone.
    lower_rows = F.embedding(lower.long(), table)
    upper_rows = F.embedding((lower.long() + 1).clamp(max=QP_MAX), table)
    return (lower_rows + (upper_rows - lower_rows) * share).permute(0, 3, 1, 2)


class Gain(nn.Module):
    """Multiply channel c at a place of QP q by exp(g[q, c]), g linear in q between anchors.

    Args:
        channels: channels of the input.
        slope: initial g per unit of t: 1 in the analysis, -1 in the synthesis.
    """

    def __init__(self, channels: int, slope: float = 0.0) -> None:
        super().__init__()
        t = torch.linspace(-T_LIMIT, T_LIMIT, ANCHORS)
        self.log_gain = nn.Parameter((slope * t)[:, None].repeat(1, channels))
        self.frozen: Tensor | None = None

    def table(self) -> Tensor:
        """Compute the factors [64, C]."""
        return torch.exp(interpolation_matrix().to(self.log_gain) @ self.log_gain)

    def freeze_table(self) -> None:
        """Compute the factors once, for inference."""
        # register_buffer refuses the name of a plain attribute.
        del self.frozen
        self.register_buffer("frozen", self.table().detach(), persistent=False)

    def forward(self, x: Tensor, qp: Tensor) -> Tensor:
        """Scale the channels.

        Args:
            x: [B, C', H, W], the first C' of the layer's channels.
            qp: QPs 0..63, [B, H, W] or [B, 1, 1].

        Returns:
            [B, C', H, W].
        """
        table = self.table() if self.frozen is None else self.frozen
        return x * look_up(table[:, : x.shape[1]], qp)


class IntegerQpTable(nn.Module):
    """An embedding of the QP in exact fixed-point numbers, for the integer prior.

    Every entry is a multiple of 2^-FRACTION_BITS in -CLIP..CLIP (networks.integer).

    Args:
        channels: channels C of the embedding.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        t = torch.linspace(-1, 1, ANCHORS)[:, None]
        self.anchors = nn.Parameter(t * torch.randn(1, channels) + 0.5 * torch.randn(1, channels))
        self.frozen: Tensor | None = None

    def table(self) -> Tensor:
        """Compute the table [64, C]: integers as float, in units of 2^-FRACTION_BITS."""
        return round_half_up(
            (interpolation_matrix().to(self.anchors) @ self.anchors).clamp(-CLIP, CLIP) / UNIT
        )

    def load_integers(self, table: Tensor) -> None:
        """Use this integer table [64, C] from now on."""
        del self.frozen
        self.register_buffer("frozen", table.float(), persistent=False)

    def forward(self, qp: Tensor) -> Tensor:
        """Embed QPs.

        Args:
            qp: QPs 0..63: a field [B, 2 h, 2 w], or one QP per picture [B, 1, 1].

        Returns:
            [B, 4 C, h, w], the QPs of each 2x2 cell side by side as channels; [B, 4 C, 1, 1] for
            one QP per picture.
        """
        table = self.table() if self.frozen is None else self.frozen
        rows = look_up(table * UNIT, qp)
        if qp.shape[-2:] == (1, 1):
            return rows.repeat_interleave(4, 1)
        return F.pixel_unshuffle(rows, 2)
