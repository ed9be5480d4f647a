"""The descent: Adam on what is added to y.

::

    y (of g_a) + d -> rounded, prior -> bits R                    Adam on d, to lower
                          \\-> g_s -> x_hat -+-> eye -> log D      log R + a (0.9 log D + 0.1 log P)
    x --------------------------------------+-> squared error P
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.coding.latent_grid import latent_grid
from codec.tuning.eyes import TINY, Distance
from codec.tuning.picture import CodedPicture

MOMENTS = (0.9, 0.99)


@dataclass(frozen=True)
class Pace:
    """How fast y moves; chosen on training photos (docs/tuning.md).

    Attributes:
        step: of Adam, in quantization steps.
        last: share of it that the cosine over the steps ends at.
        noise: Adam's epsilon, in root mean squares of the first gradient. Plain Adam moves every
            value alike, also those whose gradient is only noise: zeros that cost nothing would
            start to cost bits.
        pixel_share: what log P counts beside log D.
    """

    step: float = 0.04
    last: float = 0.1
    noise: float = 0.5
    pixel_share: float = 0.1


def objective(
    picture: CodedPicture, y: Tensor, z: Tensor, distance: Distance, pixel_share: float
) -> Tensor:
    """log R + a ((1 - pixel_share) log D + pixel_share log P)."""
    x_hat, bits = picture.decoded(y, z)
    p = (x_hat - picture.x).square().mean().add(TINY).log()
    d = distance(x_hat)
    return bits.clamp(min=1).log() + picture.exchange * ((1 - pixel_share) * d + pixel_share * p)


def descend(
    picture: CodedPicture, start: Tensor, z: Tensor, distance: Distance, steps: int, pace: Pace
) -> Tensor:
    """Move y.

    Args:
        picture: whose latents they are.
        start: y [1, M, 4 a, 4 b] of the analysis.
        z: [1, Z, a, b], whole numbers; it stays.
        distance: from the eye.
        steps: how many.
        pace: how fast.

    Returns:
        y of the same shape; zeros beyond the picture stay zeros.
    """
    rows, cols = latent_grid(picture.height, picture.width)
    around = (0, start.shape[3] - cols, 0, start.shape[2] - rows)
    inside = start[..., :rows, :cols].clone().requires_grad_()
    optimizer = torch.optim.Adam([inside], pace.step, MOMENTS)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, pace.last * pace.step)
    for step in range(steps):
        with torch.enable_grad():
            value = objective(picture, F.pad(inside, around), z, distance, pace.pixel_share)
            (inside.grad,) = torch.autograd.grad(value, inside)
        if not step:
            optimizer.param_groups[0]["eps"] = (
                pace.noise * float(inside.grad.square().mean().sqrt()) + TINY
            )
        optimizer.step()
        schedule.step()
    return F.pad(inside.detach(), around)
