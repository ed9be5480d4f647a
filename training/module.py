"""The Lightning module of the stages that train the codec (base, joint): their loss says which."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.checkpoint import load
from codec.networks.block_transform import start_as_block_transform
from codec.networks.config import ModelConfig
from codec.networks.model import Networks
from codec.networks.weights import trainable_from_checkpoint
from training.losses import Joint, RateDistortion
from training.qp_maps import QpMaps
from training.rate import RateModel, fit_bottleneck
from training.schedule import MakeOptimizer, ScheduledStage

log = logging.getLogger(__name__)


class CodecStage(ScheduledStage):
    """Trains the whole codec. From the share `rounded_from` of the schedule on, the rate is that of rounded symbols
    (rate.RateModel).

    ::

        crops x -> QpMaps -> QP field -> RateModel(networks) -> bits, x_hat -> RateDistortion or Joint -> loss
    """

    def __init__(
        self,
        model: ModelConfig,
        loss: RateDistortion,
        maps: QpMaps,
        optimizer: MakeOptimizer,
        learning_rate: float,
        warmup: int,
        steps: int,
        minutes: float | None = None,
        seed: int = 0,
        prior_factor: float = 2.0,
        rounded_from: float = 0.75,
    ) -> None:
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.networks = Networks(model)
        start_as_block_transform(self.networks)
        self.rate_model = RateModel(model.z)
        self.loss = loss
        self.maps, self.prior_factor, self.rounded_from = maps, prior_factor, rounded_from

    def training_step(self, x: Tensor, index: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        qp = self.maps(x)
        loss, parts = self.loss(x, qp, self.rate_model(self.networks, x, qp, self.reached >= self.rounded_from))
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts | {"qp": qp.float().mean()}, prog_bar=True)
        return loss

    def start_from(self, place: Path, crops: Callable[[], Tensor]) -> None:
        """As ScheduledStage; or exported weights (.safetensors), for which the likelihoods of z are fitted anew."""
        if place.suffix != ".safetensors":
            super().start_from(place, crops)
            return
        self.networks = trainable_from_checkpoint(load(place), self.networks.config)
        bits = fit_bottleneck(self.rate_model, self.networks, crops())
        log.info("started from %s; z costs %.4f bpp", place.name, bits)

    def on_fit_start(self) -> None:
        if isinstance(self.loss, Joint):
            self.loss.features.tower.to(self.device)

    def parameter_groups(self) -> list[dict[str, Any]]:
        named = [(name, p) for name, p in self.named_parameters() if p.requires_grad]
        from_scratch = [p for name, p in named if "g_a" not in name and "g_s" not in name]
        transforms = [p for name, p in named if "g_a" in name or "g_s" in name]
        return [{"params": transforms, "factor": 1.0}, {"params": from_scratch, "factor": self.prior_factor}]
