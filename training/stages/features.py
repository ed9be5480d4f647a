"""The stage that distils a vision tower into the feature network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from codec.networks.features import FeatureConfig, FeatureNetwork
from training.data.coded_views import Entry
from training.optim.schedule import MakeOptimizer, ScheduledStage

LEAST_CHANGE = 1e-3  # of tokens, in variances: keeps the relative error of equal pictures finite
PREFIX = 1  # the class token


class FeatureStage(ScheduledStage):
    """Trains codec.networks.features.FeatureNetwork on what a tower saw (training.data.coded).

    ::

        x, x_hat -> FeatureNetwork -> s, s_hat --+-> |s - t|^2 of every view
        the tower's tokens         -> t, t_hat --+-> |(s_hat - s) - (t_hat - t)|^2 / |t_hat - t|^2
                                                 +-> (log |s_hat - s|^2 - log |t_hat - t|^2)^2

    What coding changes is a small part of the tokens, so it has a term of its own, relative to its
    size.
    """

    def __init__(
        self,
        network: FeatureConfig,
        optimizer: MakeOptimizer,
        level_weights: Sequence[float],
        learning_rate: float,
        warmup: int,
        steps: int,
        minutes: float | None = None,
        seed: int = 0,
        token_weight: float = 0.3,
        distance_weight: float = 0.02,
    ) -> None:
        """Make the network.

        Args:
            network: Sizes of the network.
            optimizer: Makes the optimizer.
            level_weights: What each level counts.
            learning_rate: At the top of the schedule.
            warmup: Steps until there.
            steps: Of the whole schedule.
            minutes: Of the whole schedule, where that ends first.
            seed: Of the run.
            token_weight: What the tokens themselves count beside their changes.
            distance_weight: What the logarithms of the distances count.
        """
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.network = FeatureNetwork(network)
        # The class token of the last level counts less than its many patches.
        self.level_weights = [*level_weights, 0.3 * level_weights[-1]]
        self.token_weight = token_weight
        self.distance_weight = distance_weight

    def training_step(self, batch: Entry, index: int) -> Tensor:
        pictures, tokens = batch
        loss, parts = self.loss(self.predicted(pictures), self.targets(tokens))
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts)
        return loss

    @staticmethod
    def targets(tokens: Tensor) -> list[Tensor]:
        """[B, V, L, 1 + patches, K] -> per level [B, V, patches, K], then the class token."""
        levels = list(tokens.float().unbind(2))
        return [level[:, :, PREFIX:] for level in levels] + [levels[-1][:, :, :PREFIX]]

    def predicted(self, pictures: Tensor) -> list[Tensor]:
        """As `targets`, from pictures uint8 [B, V, S, S, 3]."""
        x = pictures.flatten(0, 1).permute(0, 3, 1, 2).float().div(255)
        maps, whole = self.network(x)
        tokens = [m.float().flatten(2).transpose(1, 2) for m in maps] + [whole.float()[:, None]]
        return [t.unflatten(0, pictures.shape[:2]) for t in tokens]

    def loss(
        self, guesses: list[Tensor], targets: list[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a batch and its parts."""
        total = guesses[0].new_zeros(())
        parts = {}
        for k, (weight, guess, target) in enumerate(zip(self.level_weights, guesses, targets)):
            token = (guess - target).square().mean() / target.square().mean()
            change, guessed = (v[:, 1:] - v[:, :1] for v in (target, guess))
            size = change.square().mean((2, 3)) + LEAST_CHANGE
            relative = ((guessed - change).square().mean((2, 3)) / size).mean()
            distance = (guessed.square().mean((2, 3)) + LEAST_CHANGE).log() - size.log()
            off = distance.square().mean()
            total = total + weight * (
                self.token_weight * token + relative + self.distance_weight * off
            )
            parts |= {f"token{k}": token, f"change{k}": relative, f"off{k}": off}
        return total, {k: v.detach() for k, v in parts.items()}

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.network.parameters()), "factor": 1.0}]
