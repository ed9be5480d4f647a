"""The stage that trains the guidance student.

It learns a tower's attention, and where the tower's tokens are sensitive to errors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.networks.model import Networks
from codec.networks.student import Student, StudentConfig
from codec.towers import LAST, Tower, load_tower
from codec.weights.checkpoint import find, load
from codec.weights.networks import from_checkpoint
from training.data.qp_maps import QpMaps
from training.losses.rate import RateModel
from training.optim.schedule import MakeOptimizer, ScheduledStage


class StudentStage(ScheduledStage):
    """Trains codec.networks.student.Student; the tower is frozen.

    ::

        crops x -> Student -> log attention   -> KL to the tower's shallow attention
                          \\-> log sensitivity -> squared error to the tower's, both
                                                  relative to the picture's mean
        crops x -> codec (frozen), if its errors replace white noise -> the tower's sensitivity
    """

    def __init__(
        self,
        student: StudentConfig,
        optimizer: MakeOptimizer,
        tower: str,
        tower_weights: str | None,
        learning_rate: float,
        warmup: int,
        steps: int,
        minutes: float | None = None,
        seed: int = 0,
        layers: int = 3,
        probes: int = 2,
        attention_weight: float = 1.0,
        errors_of: str | None = None,
        maps: QpMaps | None = None,
    ) -> None:
        """Load the tower, and the codec if its errors are needed.

        Args:
            student: Widths and depths of the student.
            optimizer: Makes the optimizer.
            tower: The tower's name (codec.towers.load_tower).
            tower_weights: The tower's weights.
            learning_rate: The learning rate after the warm-up.
            warmup: Steps of the warm-up.
            steps: Length of the schedule in steps.
            minutes: Length of the schedule in minutes, if that ends first.
            seed: The seed of noise and maps.
            layers: Number of blocks whose attention is averaged.
            probes: Number of random projections of the tokens in each step.
            attention_weight: The weight of the attention's loss.
            errors_of: Name or path of codec weights. Their coding errors replace white noise.
            maps: Draws the QPs of the crops that this codec codes.
        """
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.student = Student(student)
        self.frozen = (load_tower(tower, tower_weights),)  # in a tuple: not saved, not averaged
        self.layers = layers
        self.probes = probes
        self.attention_weight = attention_weight
        self.maps = maps
        self.coder: tuple[Networks, RateModel] | None = None
        if errors_of is not None:
            networks = from_checkpoint(load(find(errors_of)))
            self.coder = networks, RateModel(networks.config.z).requires_grad_(False)

    def on_fit_start(self) -> None:
        for part in (*self.frozen, *(self.coder or ())):
            part.to(self.device)

    def training_step(self, x: Tensor, index: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        attention, sensitivity, _ = (v.float() for v in self.student(x))
        attention_loss = self.attention_loss(attention, self.teacher_attention(x))
        sensitivity_loss = self.sensitivity_loss(sensitivity, self.teacher_sensitivity(x))
        loss = self.attention_weight * attention_loss + sensitivity_loss
        parts = {"attention": attention_loss.detach(), "sensitivity": sensitivity_loss.detach()}
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts, prog_bar=True)
        return loss

    @torch.no_grad()
    def teacher_attention(self, x: Tensor) -> Tensor:
        """Mean [CLS] attention of the first blocks: [B, rows, cols] on the tower's grid."""
        tower: Tower = self.frozen[0]
        return tower.attention(tower.prepare(x), self.layers).mean(1).float()

    def teacher_sensitivity(self, x: Tensor) -> Tensor:
        """How much an error in a patch changes the last tokens: [B, rows, cols].

        J is the derivative of the tokens by the pixels of the patch. For white noise, the result is
        the trace of J^T J, divided by the number of pixels. For the coding error e, it is |J e|^2.
        Both are estimated with `probes` random projections of the tokens, as means of |J^T r|^2 and
        of (r^T J e)^2 for r ~ N(0, 1) (Hutchinson's estimator).
        """
        tower: Tower = self.frozen[0]
        error = self.coding_error(x)
        with torch.enable_grad():
            pixels = tower.prepare(x).detach().requires_grad_(True)
            tokens = tower.tokens(pixels, [LAST])[LAST].float()
            changes = []
            for left in range(self.probes, 0, -1):
                (gradient,) = torch.autograd.grad(
                    (tokens * torch.randn_like(tokens)).sum(), pixels, retain_graph=left > 1
                )
                if error is None:
                    changes.append(F.avg_pool2d(gradient.square(), tower.patch).sum(1))
                else:
                    # The mean over the patch instead of the sum: constant factors do not matter.
                    changes.append(F.avg_pool2d(gradient * error, tower.patch).sum(1).square())
        return torch.stack(changes).mean(0)

    @torch.no_grad()
    def coding_error(self, x: Tensor) -> Tensor | None:
        """The codec's errors in the tower's input [B, 3, h, w]; None without a codec."""
        if self.coder is None:
            return None
        networks, rate_model = self.coder
        tower: Tower = self.frozen[0]
        assert self.maps is not None
        coded = rate_model(networks, x, self.maps(x), rounded=True)
        return (tower.prepare(coded.x_hat.float().clamp(0, 1)) - tower.prepare(x)).float()

    def attention_loss(self, guess: Tensor, target: Tensor) -> Tensor:
        """Kullback-Leibler divergence in nats of two distributions over the picture."""
        target = F.interpolate(
            target[:, None], guess.shape[-2:], mode="bilinear", antialias=True
        ).flatten(1)
        target = target / target.sum(1, keepdim=True)
        return F.kl_div(guess.flatten(1).log_softmax(1), target, reduction="batchmean")

    def sensitivity_loss(self, guess: Tensor, target: Tensor) -> Tensor:
        """Mean squared error of the logs in nats^2; their means over the picture are subtracted.

        A lower bound keeps the logs of flat pictures finite.
        """
        log_target = (target + 1e-3 * target.mean((1, 2), keepdim=True) + 1e-12).log()
        resized = F.interpolate(
            log_target[:, None], guess.shape[-2:], mode="bilinear", antialias=True
        )[:, 0]
        # A guide only uses ratios between positions, so a constant in the logs does not matter.
        centred = [v - v.mean((1, 2), keepdim=True) for v in (guess, resized)]
        return (centred[0] - centred[1]).square().mean()

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.student.parameters()), "factor": 1.0}]
