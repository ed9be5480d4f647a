"""How much a QP map could save at best: a map that is optimised for each picture by gradient.

The gradient is computed through the codec and the judge's own features. This is slow and optimises
for the judge that scores it, so the result is a bound to compare guides with, not a usable guide.

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

# Pictures are padded to a multiple of this by repeating their edge: the hyper-latents' stride.
SIDE = 64
# Side of a map's cell in pixels.
CELL = 2 * STRIDE_Y
# Number of steps of Adam, and its learning rate in QPs.
STEPS = 30
QPS_PER_STEP = 1.0
# The final learning rate, relative to the initial one.
LAST_SHARE = 0.1
BETAS = (0.9, 0.99)
# The result is the mean of this many last steps.
AVERAGED = 10
# Range in which the base QP varies from step to step; multiples of the golden ratio cover a range
# evenly.
DITHER_QPS = 4.0
GOLDEN = 0.618034
# Base QPs, relative to the picture's, at which a finished map is evaluated.
NEARBY = (-2, -1, 0, 1, 2)
# Strengths of the finished map that are tried.
SHARES = (0.0, 0.5, 1.0)
# Keeps logarithms and divisions finite.
TINY = 1e-12


@dataclass(frozen=True)
class _Look:
    """A picture's data that do not depend on the map.

    Attributes:
        x: the padded picture, [1, 3, 64 a, 64 b].
        height: height without padding.
        width: width without padding.
        tokens: the original's last tokens.
    """

    x: Tensor
    height: int
    width: int
    tokens: Tensor


class Oracle:
    """Optimises a map with one offset per 32x32 pixels by Adam: minimises log R + a(QP) log D.

    R: bits of the rounded latents plus an estimate of those of the map. D: squared error of the
    tower's last tokens for the part of the picture that `view` selects, such as the judge's crop;
    everything outside contributes to R only. a(QP): the exchange rate of log D in log R along the
    curve of uniform steps.

    The mean of the offsets is kept at zero: if a(QP) does not fit the picture exactly, a change of
    the mean would lower the objective without being a better map. Every step uses another base QP
    nearby, and the last steps are averaged: otherwise the map would overfit to one particular
    rounding, and the encoder's RDOQ rounds differently. The offsets are finally scaled by 1, 1/2
    or 0, whichever has the best mean objective over nearby base QPs.
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
            tower: the judge's tower.
            view: maps pictures to the tower's input; by default the tower's own preprocessing.
            steps: number of steps of Adam.
            qps_per_step: initial learning rate.
        """
        self.networks = from_checkpoint(checkpoint)
        self.rate_model = RateModel(checkpoint.metadata["config"]["z"]).requires_grad_(False)
        self.tower = tower
        self.steps = steps
        self.qps_per_step = qps_per_step
        self.view = view or tower.prepare

    def qp_map(self, pixels: Pixels, qp: int) -> NDArray[np.int64]:
        """Optimise the map of a picture.

        Args:
            pixels: uint8 [H, W, 3].
            qp: the base QP, 0..63.

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
        """Run Adam and return the mean offsets of the last steps.

        Args:
            look: the picture.
            start: initial offsets [rows, cols].
            qp: the base QP.

        Returns:
            Offsets [rows, cols].
        """
        offsets = start.clone().requires_grad_()
        # Adam's normalised steps would also move cells whose gradient is mere noise; this epsilon
        # prevents that.
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
        """The objective's gradient with respect to the offsets, at a base QP near `qp`."""
        return torch.autograd.grad(self.objective(look, self.placed(offsets, base), qp), offsets)[0]

    @torch.no_grad()
    def smoothed(self, look: _Look, offsets: Tensor, qp: int) -> float:
        """The mean objective over nearby base QPs, because it varies from one QP to the next."""
        values = [self.objective(look, self.placed(offsets, qp + near), qp) for near in NEARBY]
        return float(np.mean([float(value) for value in values]))

    def look(self, pixels: Pixels) -> _Look:
        """Pad a picture [H, W, 3] and compute its tokens."""
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
        """Convert offsets to whole QPs 0..63 around `qp`, with a straight-through gradient."""
        qps = (qp + offsets - offsets.mean()).clamp(0, QP_COUNT - 1)
        return qps + (qps.round() - qps).detach()

    def objective(self, look: _Look, qp_map: Tensor, qp: int) -> Tensor:
        """log R + a(qp) log D of the picture if it is coded with a map [rows, cols]."""
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
        """Expand a map [rows, cols] to the latent grid [1, 4 a, 4 b].

        Each position gets the value of its cell, as in bitstream.qp_map; padding repeats the edge.
        """
        rows = -(-look.height // STRIDE_Y)
        cols = -(-look.width // STRIDE_Y)
        down = torch.arange(rows) * qp_map.shape[0] // rows
        across = torch.arange(cols) * qp_map.shape[1] // cols
        below = look.x.shape[2] // STRIDE_Y - rows
        right = look.x.shape[3] // STRIDE_Y - cols
        return F.pad(qp_map[down][:, across][None, None], (0, right, 0, below), mode="replicate")[0]


def oracle_for(checkpoint: Checkpoint, tower: Tower, view: View, steps: int = STEPS) -> QpMapOf:
    """Return the function for the argument `oracle` of codecs.variants.Setup."""
    return Oracle(checkpoint, tower, view, steps).qp_map


def map_bits(qp_map: Tensor) -> Tensor:
    """Estimate the bits that bitstream.qp_map.encode_offsets needs.

    Args:
        qp_map: [rows, cols].

    Returns:
        The number of cells times log2(1 + 2 e d): about the entropy of Laplace-distributed
        differences between neighbours with mean absolute value d.
    """
    steps = torch.cat([torch.diff(qp_map, dim=axis).abs().flatten() for axis in (0, 1)])
    return (
        qp_map.numel() * torch.log2(1 + 2 * math.e * steps.mean())
        if len(steps)
        else qp_map.new_zeros(())
    )
