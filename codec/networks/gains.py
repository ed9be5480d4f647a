"""Per-channel quantities that depend on the QP of a place: step sizes and embeddings, from a few learned anchors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.config import QP_COUNT
from codec.networks.integer import CLIP, UNIT, round_half_up

ANCHORS = 8
ANCHOR_DISTANCE = (QP_COUNT - 1) // (ANCHORS - 1)
T_LIMIT = 1.8


def qp_to_t(qp: Tensor) -> Tensor:
    """QP 0..63 to the log-rate coordinate t in -1.8..1.8 in which training draws its rates."""
    return (qp / (QP_COUNT - 1) * 2 - 1) * T_LIMIT


def interpolation_matrix() -> Tensor:
    """[64, ANCHORS]: row q holds the weights of the two anchors around QP q."""
    position = torch.arange(QP_COUNT, dtype=torch.float32) * (ANCHORS - 1) / (QP_COUNT - 1)
    distance = (position[:, None] - torch.arange(ANCHORS)).abs()
    return (1 - distance).clamp(min=0)


def look_up(table: Tensor, qp: Tensor) -> Tensor:
    """Rows of table [64, C] at a QP field [B, H, W] or one QP per picture [B, 1, 1]; returns [B, C, H, W].

    A field of floats lies between two rows, linearly: what a field is trained by has a gradient there.
    """
    if not qp.is_floating_point():
        return F.embedding(qp, table).permute(0, 3, 1, 2)
    lower = qp.detach().floor().clamp(0, QP_COUNT - 1)
    share = (qp - lower)[..., None]
    lower_rows = F.embedding(lower.long(), table)
    upper_rows = F.embedding((lower.long() + 1).clamp(max=QP_COUNT - 1), table)
    return (lower_rows + (upper_rows - lower_rows) * share).permute(0, 3, 1, 2)


class Gain(nn.Module):
    """Multiplies channel c at a place of QP q by exp(g[q, c]), g linear in q between anchors."""

    def __init__(self, channels: int, slope: float = 0.0) -> None:
        super().__init__()
        t = torch.linspace(-T_LIMIT, T_LIMIT, ANCHORS)
        self.log_gain = nn.Parameter((slope * t)[:, None].repeat(1, channels))
        self.frozen: Tensor | None = None

    def table(self) -> Tensor:
        """[64, C] factors."""
        return torch.exp(interpolation_matrix().to(self.log_gain) @ self.log_gain)

    def freeze_table(self) -> None:
        """Compute the factors once, for inference."""
        del self.frozen
        self.register_buffer("frozen", self.table().detach(), persistent=False)

    def forward(self, x: Tensor, qp: Tensor) -> Tensor:
        table = self.table() if self.frozen is None else self.frozen
        return x * look_up(table[:, : x.shape[1]], qp)


class IntegerQpTable(nn.Module):
    """An embedding of the QP as exact fixed-point numbers (multiples of 2^-FRACTION_BITS), for the integer prior."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        t = torch.linspace(-1, 1, ANCHORS)[:, None]
        self.anchors = nn.Parameter(t * torch.randn(1, channels) + 0.5 * torch.randn(1, channels))
        self.frozen: Tensor | None = None

    def table(self) -> Tensor:
        """[64, C] integers, carried as float."""
        return round_half_up(
            (interpolation_matrix().to(self.anchors) @ self.anchors).clamp(-CLIP, CLIP) / UNIT
        )

    def load_integers(self, table: Tensor) -> None:
        """Use this integer table [64, C] from now on."""
        del self.frozen
        self.register_buffer("frozen", table.float(), persistent=False)

    def forward(self, qp: Tensor) -> Tensor:
        """qp [B, 2 h, 2 w] -> [B, 4 C, h, w], each 2x2 cell's as channels; one QP a picture [B, 1, 1] -> [B, 4 C, 1, 1]."""
        table = self.table() if self.frozen is None else self.frozen
        found = look_up(table * UNIT, qp)
        if qp.shape[-2:] == (1, 1):
            return found.repeat_interleave(4, 1)
        return F.pixel_unshuffle(found, 2)
