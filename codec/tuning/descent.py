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
from codec.tuning.views import around, boxes

MOMENTS = (0.9, 0.99)
STEP = 0.04
QUICK = 10
QUICK_STEP = 0.06  # of fewer steps than QUICK
VIEWS = 2


@dataclass(frozen=True)
class Pace:
    """How fast y moves; chosen on training photos (docs/tuning.md).

    Attributes:
        step: of Adam, in quantization steps.
        last: share of it that the cosine over the steps ends at.
        noise: Adam's epsilon, in root mean squares of the first gradient. Plain Adam moves every
            value alike, also those whose gradient is only noise: zeros that cost nothing would
            start to cost bits.
        pixel_share: the weight of log P, 0..1; log D has the rest.
        views: how many parts of the picture a step looks at. For one, only that part is decoded.
    """

    step: float = STEP
    last: float = 0.1
    noise: float = 0.5
    pixel_share: float = 0.1
    views: int = VIEWS


def pace_of(steps: int, views: int = VIEWS) -> Pace:
    """The usual pace for a number of steps: if there are few, each is longer."""
    return Pace(QUICK_STEP if steps < QUICK else STEP, views=views)


@dataclass(frozen=True)
class Search:
    """What is lowered: log R + a ((1 - pixel_share) log D + pixel_share log P).

    Attributes:
        picture: the picture whose latents are tuned.
        z: [1, Z, a, b], whole numbers, which are not tuned.
        distance: computes log D (eyes.watch).
        size: (rows, columns) of the eye's input.
        pace: how fast y moves.
    """

    picture: CodedPicture
    z: Tensor
    distance: Distance
    size: tuple[int, int]
    pace: Pace

    def value(self, y: Tensor, look: int) -> Tensor:
        """The objective for y [1, M, 4 a, 4 b], with the views of this number (views.boxes)."""
        picture = self.picture
        sides = picture.height, picture.width
        seen = boxes(look, sides, self.size, self.pace.views)
        # Several views and their margins cover nearly all of the picture.
        window = around(seen, sides) if len(seen) == 1 else picture.whole
        x_hat, bits = picture.decoded(y, self.z, window)
        p = (x_hat - window.of(picture.x)).square().mean().add(TINY).log()
        d = self.distance(x_hat, window, seen)
        share = self.pace.pixel_share
        return bits.clamp(min=1).log() + picture.exchange * ((1 - share) * d + share * p)

    def descend(self, start: Tensor, steps: int) -> tuple[Tensor, float]:
        """Move y.

        Args:
            start: y [1, M, 4 a, 4 b] of the analysis.
            steps: number of steps; step k uses the views of look k.

        Returns:
            y of the same shape (zeros beyond the picture stay zeros), and the value of the start
            at the first look.
        """
        rows, cols = latent_grid(self.picture.height, self.picture.width)
        around = (0, start.shape[3] - cols, 0, start.shape[2] - rows)
        inside = start[..., :rows, :cols].clone().requires_grad_()
        pace = self.pace
        optimizer = torch.optim.Adam([inside], pace.step, MOMENTS)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, steps, pace.last * pace.step
        )
        first = 0.0
        for step in range(steps):
            with torch.enable_grad():
                value = self.value(F.pad(inside, around), step)
                (inside.grad,) = torch.autograd.grad(value, inside)
            if not step:
                first = float(value.detach())
                optimizer.param_groups[0]["eps"] = (
                    pace.noise * float(inside.grad.square().mean().sqrt()) + TINY
                )
            optimizer.step()
            schedule.step()
        return F.pad(inside.detach(), around), first
