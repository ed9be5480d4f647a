"""The adapter's stage: the codec is frozen, and a tower's tokens are repaired from its latents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.checkpoint import load
from codec.networks.adapter import AdapterConfig, TokenAdapter
from codec.networks.config import ModelConfig
from codec.networks.model import Networks
from codec.networks.weights import from_checkpoint
from training.features import MultiLevel, distance
from training.qp_maps import QpMaps
from training.rate import RateModel
from training.schedule import MakeOptimizer, ScheduledStage


class AdapterStage(ScheduledStage):
    """Trains codec.networks.adapter.TokenAdapter for one tower and one codec.

    ::

        crops x -> codec (frozen) -> x_hat -> tower's embedding --+--> tower's layers -> MultiLevel distance to the tokens of x
                                 \\-> latents -> TokenAdapter ----+        (which sees the embedding, too)
    """

    def __init__(
        self,
        model: ModelConfig,
        maps: QpMaps,
        optimizer: MakeOptimizer,
        tower: str,
        tower_weights: str | None,
        levels: Mapping[str, float],
        learning_rate: float,
        warmup: int,
        steps: int,
        minutes: float | None = None,
        seed: int = 0,
        inner: int = 256,
        heads: int = 4,
        blocks: int = 2,
        sees: bool = True,
    ) -> None:
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.features = MultiLevel(tower, tower_weights, levels)
        seen = self.features.tower
        config = AdapterConfig(model.m, seen.width, *seen.grid, seen.prefix, inner, heads, blocks=blocks, sees=sees)
        self.adapter = TokenAdapter(config)
        self.frozen = (Networks(model).eval().requires_grad_(False), RateModel(model.z).requires_grad_(False))
        self.fingerprint = ""
        self.maps = maps

    def start_from(self, place: Path, crops: Callable[[], Tensor]) -> None:
        """The codec's exported weights (.safetensors), or an adapter's run to go on from."""
        if place.suffix != ".safetensors":
            super().start_from(place, crops)
            return
        checkpoint = load(place)
        self.frozen = (from_checkpoint(checkpoint), self.frozen[1])
        self.fingerprint = checkpoint.fingerprint.hex()

    def on_fit_start(self) -> None:
        for part in (*self.frozen, self.features.tower):
            part.to(self.device)

    def training_step(self, x: Tensor, index: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        qp = self.maps(x)
        distances, parts = distance(self.features.terms_of(self.tokens(x, qp)))
        loss = distances.mean()
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts | {"qp": qp.float().mean()}, prog_bar=True)
        return loss

    def tokens(self, x: Tensor, qp: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(wanted, seen) of each of the loss's layers."""
        networks, rate_model = self.frozen
        tower, layers = self.features.tower, self.features.layers
        with torch.no_grad():
            coded = rate_model(networks, x, qp, rounded=True)
            latents = networks.g_s.dequantised(coded.y_hat, qp).float()
            embedded = tower.tokens(tower.prepare(coded.x_hat.float()), [0])[0]
            wanted = tower.tokens(tower.prepare(x), layers)
        seen = tower.continued(embedded + self.adapter(latents, qp, embedded), layers)
        return [(wanted[k].float(), seen[k].float()) for k in layers]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.adapter.parameters()), "factor": 1.0}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["codec"] = self.fingerprint
