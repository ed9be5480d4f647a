"""The learning-rate schedule of all stages: a cosine over steps or minutes, whichever end first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from training.run import read_checkpoint

MakeOptimizer = Callable[..., torch.optim.Optimizer]
# The learning rate at the end of the cosine, relative to its peak.
LAST_RATE = 0.01
# A step's seed is the run's seed, shifted by this many bits, plus the step's number.
STEP_BITS = 40


class ScheduledStage(pl.LightningModule):
    """A stage with a warm-up and a cosine schedule, which stops the trainer at its end.

    The learning rate rises over `warmup` steps and then falls as a cosine to 1 % of its peak.
    `reached` is the progress, 0..1: the larger of the shares of `steps` and of `minutes`. A resumed
    run keeps both. A parameter group's learning rate is multiplied by its `factor`. Only every
    `fresh_every`-th step reads its crops; the others replay earlier ones.
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
        self.elapsed = 0.0  # seconds
        self.reached = 0.0
        self.clock: float | None = None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The parameters to train, as groups with `params` and `factor`."""
        raise NotImplementedError

    def start_from(self, place: Path, crops: Callable[[], Tensor]) -> None:
        """Take the averaged weights of another run's checkpoint.

        Args:
            place: That run's `last.ckpt`.
            crops: Returns a batch of training pictures, for stages that fit something to them.
        """
        self.load_state_dict(read_checkpoint(place)["state_dict"])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.make_optimizer(self.parameter_groups(), lr=self.learning_rate)

    def progress(self) -> float:
        """Count the time since the last call, and return the share of training that is done."""
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
        # The flag is a state of the processor and would affect later code in this process.
        torch.set_flush_denormal(False)

    def on_train_batch_start(self, batch: Any, batch_index: int) -> int | None:
        self.reached = self.progress()
        if self.reached >= 1:
            self.trainer.should_stop = True
            return -1
        ramp = min(1.0, (self.global_step + 1) / max(1, self.warmup))
        cosine = 0.5 * (1 + math.cos(math.pi * self.reached))
        rate = self.learning_rate * ramp * (LAST_RATE + (1 - LAST_RATE) * cosine)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate * group["factor"]
        self.log("learning_rate", rate)
        # Noise and maps depend on the step alone, so that a resumed run draws the same ones as an
        # uninterrupted run.
        step = self.global_step * self.trainer.world_size + self.global_rank
        torch.manual_seed((self.seed << STEP_BITS) + step)
        return None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elapsed"] = self.elapsed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.elapsed = checkpoint["elapsed"]
