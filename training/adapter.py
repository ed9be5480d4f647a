"""The adapter's stage: the codec is frozen, and a tower's tokens are repaired from its latents."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from codec.checkpoint import Checkpoint, by_fingerprint, find, load
from codec.errors import UnknownModel
from codec.networks.adapter import AdapterConfig, TokenAdapter, sample
from codec.networks.config import ModelConfig
from codec.networks.gains import qp_to_t
from codec.networks.model import Networks
from codec.networks.weights import from_checkpoint
from training.features import MultiLevel, distance
from training.qp_maps import QpMaps
from training.rate import RateModel
from training.schedule import MakeOptimizer, ScheduledStage


@dataclass
class Coded:
    """All that a step needs of coded crops. samples: [B, C + 1, rows, columns] (networks.adapter.sample); embedded: tokens of x_hat
    [B, prefix + patches, width]; wanted: tokens of x, by layer; t: [B], mean over each picture.
    """

    samples: Tensor
    embedded: Tensor
    wanted: dict[int, Tensor]
    t: Tensor

    def to(self, dtype: torch.dtype) -> Coded:
        wanted = {layer: tokens.to(dtype) for layer, tokens in self.wanted.items()}
        return Coded(self.samples.to(dtype), self.embedded.to(dtype), wanted, self.t)


class AdapterStage(ScheduledStage):
    """Trains codec.networks.adapter.TokenAdapter for one tower and one codec.

    Coding a crop costs more than learning from it: each fresh batch is followed by `replays` of remembered ones (the last `memory`
    batches, in half precision; a resumed run begins with none). A picture's distance counts exp(tilt t), t its mean log-rate: what
    is lost falls as steps get finer, and what is won of it should count alike.

    ::

        crops x -> codec (frozen) -> x_hat -> tower's embedding --+--> memory --+--> + --> tower's layers -> MultiLevel distance
                                 \\-> latents at the patches -----+             |    |        to the tokens of x
                                                                               +--> TokenAdapter
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
        replays: int = 3,
        memory: int = 2000,
        tilt: float = 0.9,
    ) -> None:
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.features = MultiLevel(tower, tower_weights, levels)
        seen = self.features.tower
        config = AdapterConfig(model.m, seen.width, *seen.grid, seen.prefix, inner, heads, blocks=blocks, sees=sees)
        self.adapter = TokenAdapter(config)
        self.frozen = (Networks(model).eval().requires_grad_(False), RateModel(model.z).requires_grad_(False))
        self.fingerprint = ""
        self.maps = maps
        self.replays, self.tilt = replays, tilt
        self.memory: deque[Coded] = deque(maxlen=memory)

    def start_from(self, place: Path, crops: Callable[[], Tensor]) -> None:
        """The codec's exported weights (.safetensors), or an adapter's run to go on from; blocks that it has not got start as the
        identity. Raises UnknownModel where the run's codec is not shipped any more.
        """
        if place.suffix == ".safetensors":
            self._freeze(load(place))
            return
        state = torch.load(place, map_location="cpu", weights_only=False)
        for block in self.adapter.later_blocks({name.removeprefix("adapter.") for name in state["state_dict"]}):
            for last in (block.self_attn.out_proj, block.linear2):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        self.load_state_dict(self.state_dict() | state["state_dict"])
        self._freeze_codec_of(state)

    def _freeze(self, checkpoint: Checkpoint) -> None:
        self.frozen = (from_checkpoint(checkpoint), self.frozen[1])
        self.fingerprint = checkpoint.fingerprint.hex()

    def _freeze_codec_of(self, state: Mapping[str, Any]) -> None:
        """A run's checkpoint names its codec and does not hold it."""
        if self.fingerprint == state["codec"]:
            return
        name = by_fingerprint(bytes.fromhex(state["codec"]))
        if name is None:
            raise UnknownModel(f"the adapter was trained for the weights {state['codec']}, which are not shipped any more")
        self._freeze(load(find(name)))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._freeze_codec_of(checkpoint)

    def on_fit_start(self) -> None:
        for part in (*self.frozen, self.features.tower):
            part.to(self.device)

    def training_step(self, x: Tensor, index: int) -> Tensor:
        if self.memory and self.global_step % (self.replays + 1):
            coded = self.memory[int(torch.randint(len(self.memory), ()))].to(torch.float32)
        else:
            coded = self.coded(x.contiguous(memory_format=torch.channels_last))
            if self.replays:
                self.memory.append(coded.to(torch.float16))
        distances, parts = distance(self.features.terms_of(self.tokens(coded)))
        loss = (distances * torch.exp(self.tilt * coded.t)).mean()
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts | {"t": coded.t.mean()}, prog_bar=True)
        return loss

    @torch.no_grad()
    def coded(self, x: Tensor) -> Coded:
        """x: [B, 3, H, W] in 0..1, sides multiples of 64."""
        networks, rate_model = self.frozen
        tower, layers, qp = self.features.tower, self.features.layers, self.maps(x)
        coded = rate_model(networks, x, qp, rounded=True)
        samples = sample(networks.g_s.dequantised(coded.y_hat, qp).float(), qp, tower.grid)
        embedded = tower.tokens(tower.prepare(coded.x_hat.float()), [0])[0]
        return Coded(samples, embedded, tower.tokens(tower.prepare(x), layers), qp_to_t(qp.float()).mean((1, 2)))

    def tokens(self, coded: Coded) -> list[tuple[Tensor, Tensor]]:
        """(wanted, seen) of each of the loss's layers."""
        layers = self.features.layers
        repaired = coded.embedded + self.adapter.from_samples(coded.samples, coded.embedded)
        seen = self.features.tower.continued(repaired, layers)
        return [(coded.wanted[k].float(), seen[k].float()) for k in layers]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.adapter.parameters()), "factor": 1.0}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["codec"] = self.fingerprint
