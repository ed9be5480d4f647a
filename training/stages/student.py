"""The stage that trains the guidance student.

It learns a tower's attention, and where the tower's tokens are sensitive to errors.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.networks.student import Student, StudentConfig
from codec.towers import LAST, Tower, load_tower
from training.optim.schedule import MakeOptimizer, ScheduledStage


class StudentStage(ScheduledStage):
    """Trains codec.networks.student.Student; the tower is frozen.

    ::

        crops x -> Student -> log attention   -> KL to the tower's shallow attention
                          \\-> log sensitivity -> squared error to the tower's, both
                                                  relative to the picture's mean
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
    ) -> None:
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.student = Student(student)
        self.frozen = (load_tower(tower, tower_weights),)  # in a tuple: not saved, not averaged
        self.layers = layers
        self.probes = probes
        self.attention_weight = attention_weight

    def on_fit_start(self) -> None:
        self.frozen[0].to(self.device)

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
        """How much white noise in a patch changes the last tokens: [B, rows, cols].

        This is the diagonal of J^T J, summed over a patch, where J is the derivative of the tokens
        by the pixels. It is estimated with `probes` random projections of the tokens as
        E[(J^T r)^2] for r ~ N(0, 1) (Hutchinson's estimator).
        """
        tower: Tower = self.frozen[0]
        with torch.enable_grad():
            pixels = tower.prepare(x).detach().requires_grad_(True)
            tokens = tower.tokens(pixels, [LAST])[LAST].float()
            squared = torch.zeros_like(pixels)
            for left in range(self.probes, 0, -1):
                (gradient,) = torch.autograd.grad(
                    (tokens * torch.randn_like(tokens)).sum(), pixels, retain_graph=left > 1
                )
                squared += gradient.square()
        return F.avg_pool2d(squared.sum(1, keepdim=True), tower.patch)[:, 0] / self.probes

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
