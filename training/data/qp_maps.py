"""Random QPs and random QP maps, so that one set of weights learns all rates and all maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.bitstream.qp_map import expand
from codec.errors import BadArgument
from codec.guidance import Guidance, choose
from codec.guidance.importance import uniform
from codec.networks.config import QP_COUNT, STRIDE_Y


def _patchwise(h: int, w: int, spread: float) -> Tensor:
    cells = int(torch.randint(1, 5, ()))
    levels = torch.randn(1, 1, cells, cells) * spread
    return F.interpolate(levels, (h, w), mode="nearest")[0, 0]


def _gradient(h: int, w: int, spread: float) -> Tensor:
    corners = torch.randn(1, 1, 2, 2) * spread
    return F.interpolate(corners, (h, w), mode="bilinear", align_corners=True)[0, 0]


class QpMaps:
    """Draws the QP field of each picture of a batch: a base QP, uniform in 0..63, plus a map.

    A share `map_share` of the pictures gets random maps, made of patches or of a gradient, whose
    standard deviation is `spread` QPs. A share `guide_share` gets maps of a guide
    (guidance.choose) at a random strength. The others have the base QP everywhere. `tower` and
    `weights` are for guides that use a vision tower.
    """

    def __init__(
        self,
        map_share: float = 0.4,
        guide_share: float = 0.0,
        guide: str = "student",
        spread: float = 8.0,
        tower: str | None = None,
        weights: str | None = None,
    ) -> None:
        if not 0 <= map_share + guide_share <= 1:
            raise BadArgument("map_share and guide_share must add up to no more than 1")
        self.map_share = map_share
        self.guide_share = guide_share
        self.spread = spread
        self.guide = choose(guide, "default", tower, weights) if guide_share else uniform

    def __call__(self, x: Tensor) -> Tensor:
        """Draw fields.

        Args:
            x: [B, 3, 16 h, 16 w] in 0..1.

        Returns:
            Integers [B, h, w] in 0..63, on the device of x.
        """
        h = x.shape[2] // STRIDE_Y
        w = x.shape[3] // STRIDE_Y
        return torch.stack([self._field(picture, h, w) for picture in x]).to(x.device)

    def _field(self, picture: Tensor, h: int, w: int) -> Tensor:
        # The range is -0.5 to 63.5, so that after rounding the first and the last QP are as likely
        # as the others.
        base = torch.rand(()) * QP_COUNT - 0.5
        field = torch.full((h, w), float(base))
        draw = float(torch.rand(()))
        if draw < self.map_share / 2:
            field = field + _patchwise(h, w, self.spread)
        elif draw < self.map_share:
            field = field + _gradient(h, w, self.spread)
        elif draw < self.map_share + self.guide_share:
            field = self._guided(picture, round(float(base)), h, w)
        return field.round().clamp(0, QP_COUNT - 1).long()

    def _guided(self, picture: Tensor, qp: int, h: int, w: int) -> Tensor:
        pixels = (picture * 255).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
        guidance = Guidance(self.guide, float(torch.rand(())), pixels)
        cells = guidance.plan(min(max(qp, 0), QP_COUNT - 1)).qp_map
        if cells is None:
            return torch.full((h, w), float(qp))
        return torch.from_numpy(expand(cells, h, w)).float()
