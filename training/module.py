"""The Lightning module of the base stage: rate + lambda(QP) * MSE, random rates and maps."""

from __future__ import annotations

import math
import time
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from codec.networks.block_transform import start_as_block_transform
from codec.networks.config import STRIDE_Y, ModelConfig
from codec.networks.model import Networks
from training.losses import RateDistortion
from training.qp_maps import random_qp_maps
from training.rate import RateModel


class BaseStage(pl.LightningModule):
    """Trains the whole codec. The schedule is a cosine over the steps, or over a time budget where that ends first; from the
    share `rounded_from` of it on, the rate is that of rounded symbols (rate.RateModel).

    ::

        crops x + random QP map -> RateModel(networks) -> bits, x_hat -> RateDistortion -> loss
    """

    def __init__(
        self,
        model: ModelConfig,
        loss: RateDistortion,
        learning_rate: float,
        warmup: int,
        steps: int,
        minutes: float | None = None,
        map_share: float = 0.4,
        prior_factor: float = 2.0,
        rounded_from: float = 0.75,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore=["model", "loss"])
        self.networks = Networks(model)
        start_as_block_transform(self.networks)
        self.rate_model = RateModel(model.z)
        self.loss = loss
        self.elapsed = 0.0
        self.reached = 0.0
        self.clock: float | None = None

    def progress(self) -> float:
        """How far training is, 0..1: the larger of the shares of steps and of minutes."""
        now = time.monotonic()
        if self.clock is not None:
            self.elapsed += now - self.clock
        self.clock = now
        by_time = self.elapsed / (60 * self.hparams["minutes"]) if self.hparams["minutes"] else 0.0
        return max(self.global_step / self.hparams["steps"], by_time)

    def on_train_start(self) -> None:
        self.to(memory_format=torch.channels_last)
        torch.set_flush_denormal(True)
        self.clock = None

    def training_step(self, x: Tensor, index: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        qp = random_qp_maps(len(x), x.shape[2] // STRIDE_Y, x.shape[3] // STRIDE_Y, self.hparams["map_share"]).to(x.device)
        rounded = self.reached >= self.hparams["rounded_from"]
        loss, parts = self.loss(x, qp, self.rate_model(self.networks, x, qp, rounded))
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts, prog_bar=True)
        return loss

    def on_train_batch_start(self, batch: Any, batch_index: int) -> int | None:
        self.reached = progress = self.progress()
        if progress >= 1:
            self.trainer.should_stop = True
            return -1
        ramp = min(1.0, (self.global_step + 1) / self.hparams["warmup"])
        rate = self.hparams["learning_rate"] * ramp * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate * group["factor"]
        self.log("learning_rate", rate)
        return None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        named = [(name, p) for name, p in self.named_parameters() if not name.endswith("quantiles")]
        from_scratch = [p for name, p in named if "g_a" not in name and "g_s" not in name]
        transforms = [p for name, p in named if "g_a" in name or "g_s" in name]
        groups = [{"params": transforms, "factor": 1.0}, {"params": from_scratch, "factor": self.hparams["prior_factor"]}]
        return torch.optim.Adam(groups, lr=self.hparams["learning_rate"], betas=(0.9, 0.98))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["elapsed"] = self.elapsed

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.elapsed = checkpoint["elapsed"]
