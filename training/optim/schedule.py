"""What all stages share: a cosine over the steps, or over a time budget where that ends first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

MakeOptimizer = Callable[..., torch.optim.Optimizer]


class ScheduledStage(pl.LightningModule):
    """A stage whose learning rate rises over `warmup` steps and falls as a cosine to a hundredth; ends by itself.

    `reached` is how far training is, 0..1: the larger of the shares of `steps` and of `minutes`, which survive a resume.
    A parameter group's rate is multiplied by its `factor`. Only every `fresh_every`th step looks at its crops.
    """

    fresh_every = 1

    def __init__(
        self,
        make_optimizer: MakeOptimizer,
        learning_rate: float,
        warmup: int,
        steps: int,
        minutes: float | None,
        seed: int,
    ) -> None:
        super().__init__()
        self.make_optimizer = make_optimizer
        self.learning_rate = learning_rate
        self.warmup = warmup
        self.steps = steps
        self.minutes = minutes
        self.seed = seed
        self.elapsed = 0.0
        self.reached = 0.0
        self.clock: float | None = None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is trained: groups with `params` and `factor`."""
        raise NotImplementedError

    def start_from(self, place: Path, crops: Callable[[], Tensor]) -> None:
        """Take the weights of another run's checkpoint. crops: makes a batch of training pictures, where something is fitted."""
        self.load_state_dict(
            torch.load(place, map_location="cpu", weights_only=False)["state_dict"]
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(self.parameter_groups(), lr=self.learning_rate)

    def progress(self) -> float:
        """Count the time since the last call; the new `reached`."""
        now = time.monotonic()
        if self.clock is not None:
            self.elapsed += now - self.clock
        self.clock = now
        by_time = self.elapsed / (60 * self.minutes) if self.minutes else 0.0
        return max(self.global_step / self.steps, by_time)

    def on_train_start(self) -> None:
        self.to(memory_format=torch.channels_last)
        torch.set_flush_denormal(True)
        self.clock = None

    def on_train_end(self) -> None:
        torch.set_flush_denormal(
            False
        )  # it is the processor's state, which whoever computes next would find changed

    def on_train_batch_start(self, batch: Any, batch_index: int) -> int | None:
        self.reached = progress = self.progress()
        if progress >= 1:
            self.trainer.should_stop = True
            return -1
        ramp = min(1.0, (self.global_step + 1) / self.warmup)
        rate = self.learning_rate * ramp * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate * group["factor"]
        self.log("learning_rate", rate)
        # Noise and maps depend on the step alone: a resumed run draws what one that never stopped would have drawn.
        torch.manual_seed(
            (self.seed << 40) + self.global_step * self.trainer.world_size + self.global_rank
        )
        return None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elapsed"] = self.elapsed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.elapsed = checkpoint["elapsed"]
