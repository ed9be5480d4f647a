"""The stage that distils the first blocks of a vision tower into the feature network."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from codec.towers import Tower, load_tower
from codec.tuning.features import FeatureConfig, FeatureNetwork
from training.optim.schedule import MakeOptimizer, ScheduledStage

# Added to the denominator of the relative error, as a share of the mean square of a level's tokens,
# so that the error is finite for equal pictures.
LEAST_CHANGE = 1e-5


class FeatureStage(ScheduledStage):
    """Trains codec.tuning.features.FeatureNetwork from random weights; the tower is frozen.

    Block k learns the output of the tower's block k. During the first part of the schedule, the
    share `forced`, its input is the tower's tokens, so that each block is trained independently.
    Afterwards its input is the output of the network's earlier blocks.

    ::

        x, x_hat -> tower          -> t_0 .. t_k, t_hat --+-> |s_k - t_k|^2
                 -> FeatureNetwork -> s_0 .. s_k, s_hat --+-> |(s_hat - s) - (t_hat - t)|^2

    The first term is relative to what the block adds to its input, the second to how coding changes
    that. Coding changes tokens only a little, so the change has a separate term.
    """

    def __init__(
        self,
        network: FeatureConfig,
        optimizer: MakeOptimizer,
        tower: str,
        tower_weights: str | None,
        learning_rate: float,
        warmup: int,
        steps: int,
        minutes: float | None = None,
        seed: int = 0,
        forced: float = 0.4,
    ) -> None:
        """Load the tower.

        Args:
            network: Sizes of the network.
            optimizer: Makes the optimizer.
            tower: Its name (codec.towers.load_tower).
            tower_weights: The tower's weights.
            learning_rate: The learning rate after the warm-up.
            warmup: Steps of the warm-up.
            steps: Length of the schedule in steps.
            minutes: Length of the schedule in minutes, if that ends first.
            seed: The seed of the run.
            forced: The first share of the schedule, in which blocks read the tower's tokens, 0..1.
        """
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.network = FeatureNetwork(network)
        self.frozen = (load_tower(tower, tower_weights),)  # in a tuple: not saved, not averaged
        self.layers = list(range(network.depth + 1))
        self.forced = forced

    def on_fit_start(self) -> None:
        self.frozen[0].to(self.device)

    def training_step(self, pictures: Tensor, index: int) -> Tensor:
        x = pictures.flatten(0, 1).permute(0, 3, 1, 2).float().div(255)
        taught = self.taught(x)
        forced = self.reached < self.forced
        guesses = [self.network.embed(x)]
        for block, told in zip(self.network.blocks, taught):
            guesses.append(block(told if forced else guesses[-1]))
        loss, parts = self.loss(guesses, taught, pictures.shape[1], forced)
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts)
        return loss

    @torch.no_grad()
    def taught(self, x: Tensor) -> list[Tensor]:
        """The tower's tokens of every layer, which the network has to predict."""
        tower: Tower = self.frozen[0]
        tokens = tower.tokens(tower.normalize(x), self.layers)
        return [tokens[layer].float() for layer in self.layers]

    def loss(
        self, guesses: list[Tensor], taught: list[Tensor], versions: int, forced: bool
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss and its parts.

        Args:
            guesses: The network's tokens, per layer [B * versions, tokens, width].
            taught: The tower's tokens in the same shapes.
            versions: Number of versions of each picture; the first is the original.
            forced: Whether the blocks read the tower's tokens.

        Returns:
            The loss, and its parts by name.
        """
        total = guesses[0].new_zeros(())
        parts: dict[str, Tensor] = {}
        targets = [t.unflatten(0, (-1, versions)) for t in taught]
        for k, target in enumerate(targets):
            guess = guesses[k].float().unflatten(0, (-1, versions))
            added = target - (targets[k - 1] if k else target.mean((0, 1, 2)))
            token = (guess - target).square().mean() / added.square().mean()
            change = target[:, 1:] - target[:, :1]
            off = (guess[:, 1:] - guess[:, :1] - change).square().mean((2, 3))
            least = LEAST_CHANGE * target.square().mean()
            # The input of a forced block, the tower's tokens, already has the change of earlier
            # blocks.
            own = added[:, 1:] - added[:, :1] if forced and k else change
            total = total + token + (off / (own.square().mean((2, 3)) + least)).mean()
            relative = (off / (change.square().mean((2, 3)) + least)).mean()
            parts |= {f"token{k}": token.detach(), f"change{k}": relative.detach()}
        return total, parts

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.network.parameters()), "factor": 1.0}]
