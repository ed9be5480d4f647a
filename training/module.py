"""The Lightning module of the base stage: rate + lambda(QP) * MSE, random rates and maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from codec.networks.block_transform import start_as_block_transform
from codec.networks.config import STRIDE_Y, ModelConfig
from codec.networks.model import Networks
from training.losses import RateDistortion
from training.qp_maps import random_qp_maps
from training.rate import RateModel
from training.schedule import MakeOptimizer, ScheduledStage


class BaseStage(ScheduledStage):
    """Trains the whole codec. From the share `rounded_from` of the schedule on, the rate is that of rounded symbols
    (rate.RateModel).

    ::

        crops x + random QP map -> RateModel(networks) -> bits, x_hat -> RateDistortion -> loss
    """

    def __init__(
        self,
        model: ModelConfig,
        loss: RateDistortion,
        optimizer: MakeOptimizer,
        learning_rate: float,
        warmup: int,
        steps: int,
        minutes: float | None = None,
        map_share: float = 0.4,
        prior_factor: float = 2.0,
        rounded_from: float = 0.75,
    ) -> None:
        super().__init__(optimizer, learning_rate, warmup, steps, minutes)
        self.networks = Networks(model)
        start_as_block_transform(self.networks)
        self.rate_model = RateModel(model.z)
        self.loss = loss
        self.map_share, self.prior_factor, self.rounded_from = map_share, prior_factor, rounded_from

    def training_step(self, x: Tensor, index: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        qp = random_qp_maps(len(x), x.shape[2] // STRIDE_Y, x.shape[3] // STRIDE_Y, self.map_share).to(x.device)
        loss, parts = self.loss(x, qp, self.rate_model(self.networks, x, qp, self.reached >= self.rounded_from))
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts, prog_bar=True)
        return loss

    def parameter_groups(self) -> list[dict[str, Any]]:
        named = [(name, p) for name, p in self.named_parameters() if not name.endswith("quantiles")]
        from_scratch = [p for name, p in named if "g_a" not in name and "g_s" not in name]
        transforms = [p for name, p in named if "g_a" in name or "g_s" in name]
        return [{"params": transforms, "factor": 1.0}, {"params": from_scratch, "factor": self.prior_factor}]
