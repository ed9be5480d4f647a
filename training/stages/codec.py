"""The stage that trains the codec. Base, polish and joint differ only in loss and settings."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.networks.block_transform import start_as_block_transform
from codec.networks.config import ModelConfig
from codec.networks.model import Networks
from codec.weights.checkpoint import load
from codec.weights.networks import trainable_from_checkpoint
from training.data.qp_maps import QpMaps
from training.losses.joint import Joint, RateDistortion
from training.losses.rate import RateModel, fit_bottleneck
from training.optim.schedule import MakeOptimizer, ScheduledStage
from training.surgery.equalize_steps import equalize_steps
from training.surgery.prune import before_narrowing, narrowed

log = logging.getLogger(__name__)


class CodecStage(ScheduledStage):
    """Trains the whole codec.

    After the share `rounded_from` of the schedule, the rate is that of rounded symbols
    (RateModel.code_latent). `compiled` names a backend of torch.compile for both transforms.

    ::

        crops x -> QpMaps -> QP field -> RateModel(networks) -> bits, x_hat
                -> RateDistortion or Joint -> loss
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
        gain_factor: float = 1.0,
        rounded_from: float = 0.75,
        equalize: float = 0.0,
        compiled: str | None = None,
    ) -> None:
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.networks = Networks(model)
        start_as_block_transform(self.networks)
        self.rate_model = RateModel(model.z)
        self.loss = loss
        self.maps = maps
        self.rounded_from = rounded_from
        self.equalize = equalize
        self.compiled = compiled
        self.prior_factor = prior_factor
        self.gain_factor = gain_factor

    def training_step(self, x: Tensor, index: int) -> Tensor:
        # With channels last, no layer copies its input (docs/decisions.md, 14).
        x = x.contiguous(memory_format=torch.channels_last)
        qp = self.maps(x)
        loss, parts = self.loss(
            x, qp, self.rate_model(self.networks, x, qp, self.reached >= self.rounded_from)
        )
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts | {"qp": qp.float().mean()}, prog_bar=True)
        return loss

    def start_from(self, place: Path, crops: Callable[[], Tensor]) -> None:
        """Start from another run's checkpoint, or from exported weights.

        For exported weights, the likelihoods of z are fitted again. If this model has fewer
        channels of y or of the prior, the others are pruned (training/surgery/prune.py). Step sizes
        are then equalized for this stage's loss by the share `equalize`
        (training/surgery/equalize_steps.py).

        Args:
            place: `last.ckpt` of a run, or weights (.safetensors).
            crops: Returns a batch of training pictures.
        """
        if place.suffix != ".safetensors":
            super().start_from(place, crops)
        else:
            checkpoint = load(place)
            config = self.networks.config
            wide = before_narrowing(config, ModelConfig(**checkpoint.metadata["config"]))
            self.networks = trainable_from_checkpoint(checkpoint, wide or config)
            if wide:
                self.networks = narrowed(self.networks, config, crops)
            bits = fit_bottleneck(self.rate_model, self.networks, crops())
            log.info("started from %s; z costs %.4f bpp", place.name, bits)
        if self.equalize:
            equalize_steps(self.networks, self.loss, crops, self.equalize)

    def on_fit_start(self) -> None:
        if isinstance(self.loss, Joint):
            for tower in self.loss.features.frozen:
                tower.to(self.device)
        if self.compiled:
            # Compiled in place, so that names in checkpoints do not change. The prior is not
            # compiled, because fused operations would round its integers differently.
            self.networks.g_a.compile(backend=self.compiled)
            self.networks.g_s.compile(backend=self.compiled)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The transforms, their gains and the rest, each with its own learning rate."""
        groups: dict[float, list[Tensor]] = {}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                groups.setdefault(self._rate_factor(name), []).append(parameter)
        return [{"params": parameters, "factor": factor} for factor, parameters in groups.items()]

    def _rate_factor(self, name: str) -> float:
        """The factor of a parameter's learning rate."""
        if name.endswith("log_gain"):  # logarithms of step sizes, which have another scale
            return self.gain_factor
        return 1.0 if "g_a" in name or "g_s" in name else self.prior_factor
