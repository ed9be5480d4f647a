"""How much a QP map could save at best: the map itself is optimised, per picture, through the codec and the judge's own features.

Slow, and it knows its judge: a bound for guides to be measured against, not a guide.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from codec.evaluation.rivals import Pixels
from codec.networks.config import QP_COUNT, STRIDE_Y
from codec.towers import LAST, Tower
from codec.tuning import exchange
from codec.weights.checkpoint import Checkpoint
from codec.weights.networks import from_checkpoint
from training.losses.rate import RateModel

SIDE = 64
CELL = 2 * STRIDE_Y
STEPS = 30
QPS_PER_STEP = 1.0
AVERAGED = 10
DITHER_QPS = 4.0
GOLDEN = 0.618034
NEARBY = (-2, -1, 0, 1, 2)
SHARES = (0.0, 0.5, 1.0)
TINY = 1e-12


# Pictures [1, 3, H, W] in 0..1 -> the tower's input, differentiable.
View = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Look:
    """x: [1, 3, 64 a, 64 b], the picture with its edge repeated; height, width: without; wanted: the original's last tokens."""

    x: Tensor
    height: int
    width: int
    wanted: Tensor


class Oracle:
    """Adam on a map of one cell per 32x32 pixels, from zero, to lower log R + a(QP) log D.

    R: bits of the rounded latents and, roughly, of the map; D: squared error of the tower's last tokens on what `view` shows it
    (the judge's own crop, say: what lies outside costs bits only); a(QP): what D costs in rate on the uniform curve. The offsets'
    mean is held at zero: along it the objective is flat only as far as a(QP) fits the picture. Every step looks at another base QP
    nearby, and the last steps are averaged: otherwise the map fits the accidents of one rounding, which the encoder's rate-weighed
    rounding does not repeat. Of the whole map, half of it and none, the best by the objective's mean over base QPs nearby is taken.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        tower: Tower,
        view: View | None = None,
        steps: int = STEPS,
        qps_per_step: float = QPS_PER_STEP,
    ) -> None:
        self.networks = from_checkpoint(checkpoint)
        self.rate_model = RateModel(checkpoint.metadata["config"]["z"]).requires_grad_(False)
        self.tower = tower
        self.steps = steps
        self.qps_per_step = qps_per_step
        self.view = view or tower.prepare

    def qp_map(self, pixels: Pixels, qp: int) -> NDArray[np.int64]:
        """QPs 0..63 [rows, cols] of a picture [H, W, 3] around `qp`, for `Codec.encode`."""
        look = self.look(pixels)
        offsets = self.descend(
            look, torch.zeros(-(-look.height // CELL), -(-look.width // CELL)), qp
        )
        best = min(
            (share * offsets for share in SHARES),
            key=lambda scaled: self.smoothed(look, scaled, qp),
        )
        return self.placed(best, qp).numpy().astype(np.int64)

    def descend(self, look: _Look, start: Tensor, qp: int) -> Tensor:
        """Offsets [rows, cols] after all steps: the mean of the last ones."""
        offsets = start.clone().requires_grad_()
        # Plain Adam moves every cell alike, also those whose gradient is nothing but noise; this epsilon leaves them be.
        noise = float(self.gradient(look, offsets, qp, qp).square().mean().sqrt())
        optimizer = torch.optim.Adam(
            [offsets], lr=self.qps_per_step, betas=(0.9, 0.99), eps=max(noise, TINY)
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, self.steps, 0.1 * self.qps_per_step
        )
        last: list[Tensor] = []
        for step in range(self.steps):
            offsets.grad = self.gradient(
                look, offsets, qp + DITHER_QPS * ((step * GOLDEN) % 1 - 0.5), qp
            )
            optimizer.step()
            schedule.step()
            last = [*last[1 - AVERAGED :], offsets.detach().clone()]
        return torch.stack(last).mean(0)

    def gradient(self, look: _Look, offsets: Tensor, base: float, qp: int) -> Tensor:
        """Of the objective with respect to the offsets, around a base near `qp`."""
        return torch.autograd.grad(self.objective(look, self.placed(offsets, base), qp), offsets)[0]

    @torch.no_grad()
    def smoothed(self, look: _Look, offsets: Tensor, qp: int) -> float:
        """The objective's mean over base QPs nearby: it jumps by a few percent from one QP to the next."""
        return float(
            np.mean(
                [
                    float(self.objective(look, self.placed(offsets, qp + near), qp))
                    for near in NEARBY
                ]
            )
        )

    def look(self, pixels: Pixels) -> _Look:
        """What stays the same while the map changes."""
        height, width = pixels.shape[:2]
        picture = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
        x = F.pad(picture, (0, -width % SIDE, 0, -height % SIDE), mode="replicate").contiguous(
            memory_format=torch.channels_last
        )
        with torch.inference_mode():
            wanted = self.tower.tokens(self.view(picture), [LAST])[LAST]
        return _Look(x, height, width, wanted.clone())

    @staticmethod
    def placed(offsets: Tensor, qp: float) -> Tensor:
        """Offsets around `qp` as whole QPs 0..63; the gradient passes the rounding unchanged."""
        wanted = (qp + offsets - offsets.mean()).clamp(0, QP_COUNT - 1)
        return wanted + (wanted.round() - wanted).detach()

    def objective(self, look: _Look, qp_map: Tensor, qp: int) -> Tensor:
        """log R + a(qp) log D of the picture coded with this map [rows, cols]."""
        field = self.on_grid(look, qp_map)
        y = self.networks.g_a(look.x, field)
        y_hat, bits = self.rate_model.code_latent(
            self.networks, y, self.networks.h_a(y), field, rounded=True
        )
        x_hat = self.networks.g_s(y_hat, field).clamp(0, 1)[:, :, : look.height, : look.width]
        tokens = self.tower.tokens(self.view(x_hat), [LAST])[LAST]
        return (bits.sum() + map_bits(qp_map)).log() + exchange(qp) * (
            (tokens - look.wanted).square().mean() + TINY
        ).log()

    @staticmethod
    def on_grid(look: _Look, qp_map: Tensor) -> Tensor:
        """[rows, cols] -> [1, 4 a, 4 b]: nearest cell as in stepfield.expand, the edge repeated below and to the right."""
        rows = -(-look.height // STRIDE_Y)
        cols = -(-look.width // STRIDE_Y)
        down = torch.arange(rows) * qp_map.shape[0] // rows
        across = torch.arange(cols) * qp_map.shape[1] // cols
        below = look.x.shape[2] // STRIDE_Y - rows
        right = look.x.shape[3] // STRIDE_Y - cols
        return F.pad(qp_map[down][:, across][None, None], (0, right, 0, below), mode="replicate")[0]


def map_bits(qp_map: Tensor) -> Tensor:
    """About what stepfield.encode_offsets takes: log2(1 + 2 e d) bits per cell, d the mean step between neighbours (Laplace)."""
    steps = torch.cat([torch.diff(qp_map, dim=axis).abs().flatten() for axis in (0, 1)])
    return (
        qp_map.numel() * torch.log2(1 + 2 * math.e * steps.mean())
        if len(steps)
        else qp_map.new_zeros(())
    )
