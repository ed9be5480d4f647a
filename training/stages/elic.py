"""The stage that trains ELIC with gains for each QP (codec.evaluation.codecs.elic_base)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from codec.evaluation.codecs.elic_base import GainedElic
from training.data.qp_maps import QpMaps
from training.losses.joint import RateDistortion
from training.losses.rate import TrainingPass
from training.optim.schedule import MakeOptimizer, ScheduledStage


class ElicStage(ScheduledStage):
    """Trains the whole codec for all rates and QP maps, with the same losses as our codec.

    ::

        crops x -> QpMaps -> QP field -> GainedElic -> bits, x_hat -> RateDistortion -> loss
    """

    def __init__(
        self,
        loss: RateDistortion,
        maps: QpMaps,
        optimizer: MakeOptimizer,
        learning_rate: float,
        warmup: int,
        steps: int,
        minutes: float | None = None,
        seed: int = 0,
        n: int = 192,
        m: int = 320,
    ) -> None:
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.network = GainedElic(n, m)
        self.loss = loss
        self.maps = maps

    def training_step(self, x: Tensor, index: int) -> Tensor:
        qp = self.maps(x)
        x_hat, y_hat, likelihoods = self.network(x, qp)
        bits = {
            name: -values.float().log2().flatten(1).sum(1) for name, values in likelihoods.items()
        }
        coded = TrainingPass(x_hat, y_hat, bits["y"], bits["z"])
        loss, parts = self.loss(x, qp, coded)
        # The quantiles of z, from which the tables are made, have a separate loss.
        loss = loss + self.network.elic.latent_codec["hyper"].entropy_bottleneck.loss()
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts | {"qp": qp.float().mean()}, prog_bar=True)
        return loss

    def parameter_groups(self) -> list[dict[str, Any]]:
        parameters = [p for p in self.network.parameters() if p.requires_grad]
        return [{"params": parameters, "factor": 1.0}]

    def on_train_start(self) -> None:
        super().on_train_start()
        torch.set_flush_denormal(False)
