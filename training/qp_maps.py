"""Random rates and random QP maps, so that one set of weights learns every rate and every map."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.networks.config import QP_COUNT


def _patchwise(h: int, w: int, spread: float) -> Tensor:
    cells = int(torch.randint(1, 5, ()))
    levels = torch.randn(1, 1, cells, cells) * spread
    return F.interpolate(levels, (h, w), mode="nearest")[0, 0]


def _gradient(h: int, w: int, spread: float) -> Tensor:
    corners = torch.randn(1, 1, 2, 2) * spread
    return F.interpolate(corners, (h, w), mode="bilinear", align_corners=True)[0, 0]


def random_qp_maps(batch: int, h: int, w: int, map_share: float = 0.4, spread: float = 8.0) -> Tensor:
    """Integer QP fields [batch, h, w] in 0..63: a base QP per picture, uniform; a share of them patchwise or as gradients.

    map_share: the share of pictures with a map; spread: standard deviation of the map in QP.
    """
    maps = []
    for _ in range(batch):
        base = torch.rand(()) * QP_COUNT - 0.5
        field = torch.full((h, w), float(base))
        draw = float(torch.rand(()))
        if draw < map_share / 2:
            field = field + _patchwise(h, w, spread)
        elif draw < map_share:
            field = field + _gradient(h, w, spread)
        maps.append(field.round().clamp(0, QP_COUNT - 1).long())
    return torch.stack(maps)
