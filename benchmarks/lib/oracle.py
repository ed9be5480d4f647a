"""How much a QP map could save at best: a map that is optimised for each picture by gradient.

The gradient runs through the codec and the judge's own features. It is slow and it knows its judge,
so it is a bound for guides to be measured against, and no guide.

::

    offsets [rows, cols] -> QPs -> g_a, rounding, rate model -> bits R -----+
          ^                                 +-> g_s -> view -> tower -> D --+-> log R + a(QP) log D
          +---------------------------------- Adam -------------------------+
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from codec.evaluation.codecs.variants import QpMapOf, View
from codec.evaluation.distortion import Pixels
from codec.networks.config import QP_COUNT, STRIDE_Y
from codec.towers import LAST, Tower
from codec.tuning import exchange
from codec.weights.checkpoint import Checkpoint
from codec.weights.networks import from_checkpoint
from training.losses.rate import RateModel

# Sides of the picture are repeated to a multiple of it: the hyper latents' grid, in pixels.
SIDE = 64
# Pixels of a side of a map's cell.
CELL = 2 * STRIDE_Y
# Steps of Adam, and its learning rate in QPs.
STEPS = 30
QPS_PER_STEP = 1.0
# The learning rate falls to this share of it.
LAST_SHARE = 0.1
BETAS = (0.9, 0.99)
# The last so many steps are averaged.
AVERAGED = 10
# Range of the base QPs that steps look at, and the golden ratio, which spreads them evenly.
DITHER_QPS = 4.0
GOLDEN = 0.618034
# Base QPs, relative to the picture's, that a map is judged at.
NEARBY = (-2, -1, 0, 1, 2)
# Shares of the map that are tried.
SHARES = (0.0, 0.5, 1.0)
# Keeps logarithms and divisions finite.
TINY = 1e-12


@dataclass(frozen=True)
class _Look:
    """What stays the same while the map changes.

    Attributes:
        x: the picture with its edge repeated, [1, 3, 64 a, 64 b].
        height: without the edge.
        width: without the edge.
        tokens: the original's last tokens.
    """

    x: Tensor
    height: int
    width: int
    tokens: Tensor


class Oracle:
    """Adam on a map of one cell per 32x32 pixels, from zero, to lower log R + a(QP) log D.

    R: bits of the rounded latents and, roughly, of the map. D: squared error of the tower's last
    tokens on what `view` shows it, such as the judge's crop; what lies outside costs bits only.
    a(QP): what D costs in rate on the uniform curve.

    The mean of the offsets is held at zero, because along it the objective is flat only as far as
    a(QP) fits the picture. Every step looks at another base QP nearby, and the last steps are
    averaged: otherwise the map fits the accidents of one rounding, which the encoder's RDOQ does
    not repeat. Of the whole map, half of it and none, the one with the best mean objective over
    nearby base QPs is taken.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        tower: Tower,
        view: View | None = None,
        steps: int = STEPS,
        qps_per_step: float = QPS_PER_STEP,
    ) -> None:
        """Load the networks.

        Args:
            checkpoint: the weights.
            tower: the judge's.
            view: from pictures to the tower's input; the tower's own if not given.
            steps: of Adam.
            qps_per_step: learning rate.
        """
        self.networks = from_checkpoint(checkpoint)
        self.rate_model = RateModel(checkpoint.metadata["config"]["z"]).requires_grad_(False)
        self.tower = tower
        self.steps = steps
        self.qps_per_step = qps_per_step
        self.view = view or tower.prepare

    def qp_map(self, pixels: Pixels, qp: int) -> NDArray[np.int64]:
        """The map of a picture.

        Args:
            pixels: uint8 [H, W, 3].
            qp: 0..63, the base.

        Returns:
            QPs 0..63 [rows, cols] for `Codec.encode`, one for each 32x32 pixels.
        """
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
        """The mean of the offsets of the last steps.

        Args:
            look: the picture.
            start: offsets [rows, cols].
            qp: the base.

        Returns:
            Offsets [rows, cols].
        """
        offsets = start.clone().requires_grad_()
        # Adam moves all cells alike, even those whose gradient is noise; this epsilon stops them.
        noise = float(self.gradient(look, offsets, qp, qp).square().mean().sqrt())
        optimizer = torch.optim.Adam(
            [offsets], lr=self.qps_per_step, betas=BETAS, eps=max(noise, TINY)
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
            optimizer, self.steps, LAST_SHARE * self.qps_per_step
        )
        last: list[Tensor] = []
        for step in range(self.steps):
            base = qp + DITHER_QPS * ((step * GOLDEN) % 1 - 0.5)
            offsets.grad = self.gradient(look, offsets, base, qp)
            optimizer.step()
            schedule.step()
            last = [*last[1 - AVERAGED :], offsets.detach().clone()]
        return torch.stack(last).mean(0)

    def gradient(self, look: _Look, offsets: Tensor, base: float, qp: int) -> Tensor:
        """The objective's gradient by the offsets, around a base near `qp`."""
        return torch.autograd.grad(self.objective(look, self.placed(offsets, base), qp), offsets)[0]

    @torch.no_grad()
    def smoothed(self, look: _Look, offsets: Tensor, qp: int) -> float:
        """The mean objective over nearby base QPs; it jumps from one QP to the next."""
        values = [self.objective(look, self.placed(offsets, qp + near), qp) for near in NEARBY]
        return float(np.mean([float(value) for value in values]))

    def look(self, pixels: Pixels) -> _Look:
        """A picture [H, W, 3] with its tokens."""
        height, width = pixels.shape[:2]
        picture = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
        x = F.pad(picture, (0, -width % SIDE, 0, -height % SIDE), mode="replicate").contiguous(
            memory_format=torch.channels_last
        )
        with torch.inference_mode():
            tokens = self.tower.tokens(self.view(picture), [LAST])[LAST]
        return _Look(x, height, width, tokens.clone())

    @staticmethod
    def placed(offsets: Tensor, qp: float) -> Tensor:
        """Offsets around `qp` as whole QPs 0..63; the gradient passes the rounding unchanged."""
        qps = (qp + offsets - offsets.mean()).clamp(0, QP_COUNT - 1)
        return qps + (qps.round() - qps).detach()

    def objective(self, look: _Look, qp_map: Tensor, qp: int) -> Tensor:
        """log R + a(qp) log D of the picture coded with this map [rows, cols]."""
        field = self.on_grid(look, qp_map)
        y = self.networks.g_a(look.x, field)
        y_hat, bits = self.rate_model.code_latent(
            self.networks, y, self.networks.h_a(y), field, rounded=True
        )
        x_hat = self.networks.g_s(y_hat, field).clamp(0, 1)[:, :, : look.height, : look.width]
        tokens = self.tower.tokens(self.view(x_hat), [LAST])[LAST]
        error = (tokens - look.tokens).square().mean() + TINY
        return (bits.sum() + map_bits(qp_map)).log() + exchange(qp) * error.log()

    @staticmethod
    def on_grid(look: _Look, qp_map: Tensor) -> Tensor:
        """A map [rows, cols] on the latent grid [1, 4 a, 4 b].

        Each position gets the nearest cell, as in bitstream.qp_map; the edge is repeated.
        """
        rows = -(-look.height // STRIDE_Y)
        cols = -(-look.width // STRIDE_Y)
        down = torch.arange(rows) * qp_map.shape[0] // rows
        across = torch.arange(cols) * qp_map.shape[1] // cols
        below = look.x.shape[2] // STRIDE_Y - rows
        right = look.x.shape[3] // STRIDE_Y - cols
        return F.pad(qp_map[down][:, across][None, None], (0, right, 0, below), mode="replicate")[0]


def oracle_for(checkpoint: Checkpoint, tower: Tower, view: View) -> QpMapOf:
    """The function that codecs.variants.Setup takes as `oracle`."""
    return Oracle(checkpoint, tower, view).qp_map


def map_bits(qp_map: Tensor) -> Tensor:
    """About the bits that bitstream.qp_map.encode_offsets takes.

    Args:
        qp_map: [rows, cols].

    Returns:
        log2(1 + 2 e d) per cell: the entropy of a Laplace distribution whose mean step between
        neighbours is d.
    """
    steps = torch.cat([torch.diff(qp_map, dim=axis).abs().flatten() for axis in (0, 1)])
    return (
        qp_map.numel() * torch.log2(1 + 2 * math.e * steps.mean())
        if len(steps)
        else qp_map.new_zeros(())
    )
