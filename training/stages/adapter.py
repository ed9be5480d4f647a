"""The stage that trains an adapter, which repairs a tower's tokens from a codec's latents."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from codec.errors import BadArgument, UnknownModel
from codec.networks.adapter import AdapterConfig, TokenAdapter, sample
from codec.networks.config import ModelConfig
from codec.networks.gains import qp_to_t
from codec.networks.model import Networks
from codec.tokens.adapters import Adapter, is_adapter, load_adapter, repaired
from codec.towers import LAST, Tower
from codec.weights.checkpoint import Checkpoint, by_fingerprint, find, load
from codec.weights.networks import from_checkpoint
from training.data.qp_maps import QpMaps
from training.device import weights_below
from training.losses.features import Distance, MultiLevel, distance
from training.losses.rate import RateModel
from training.optim.schedule import MakeOptimizer, ScheduledStage
from training.run import read_checkpoint

# Channels per attention head, as in CLIP.
CHANNELS_PER_HEAD = 64
# Settings of a stage that determine the shape of its network.
SHAPE = ("inner", "heads", "blocks", "sees", "patches_only", "head")


@dataclass
class Coded:
    """What a training step needs of a batch of coded crops.

    Attributes:
        samples: Latents at the tower's patches, [B, C + 1, rows, columns]
            (networks.adapter.sample).
        tokens: The tokens of x_hat, which are to be repaired, [B, prefix + patches, width].
        targets: The tokens of x, by layer.
        t: The mean log-rate of each picture, [B].
    """

    samples: Tensor
    tokens: Tensor
    targets: dict[int, Tensor]
    t: Tensor

    def to(self, dtype: torch.dtype) -> Coded:
        """A copy with tokens and latents in another dtype."""
        targets = {layer: tokens.to(dtype) for layer, tokens in self.targets.items()}
        return Coded(self.samples.to(dtype), self.tokens.to(dtype), targets, self.t)


@dataclass
class Earlier:
    """The frozen repairs of the layers before the layer in training.

    Attributes:
        networks: Layer -> network.
        training: Layer -> how the network was trained.
    """

    networks: dict[int, TokenAdapter]
    training: dict[int, dict[str, Any]]

    def state(self) -> dict[int, tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]]:
        """The state for a checkpoint: configuration, weights and training of each layer."""
        return {
            layer: (asdict(v.config), v.state_dict(), self.training[layer])
            for layer, v in self.networks.items()
        }

    @classmethod
    def of_state(
        cls, state: Mapping[int, tuple[dict[str, Any], dict[str, Tensor], dict[str, Any]]]
    ) -> Earlier:
        """Restore the repairs from a checkpoint's state."""
        earlier = cls({}, {})
        for layer, (config, arrays, training) in state.items():
            network = TokenAdapter(AdapterConfig(**config))
            network.load_state_dict(arrays)
            earlier.networks[layer] = network.eval().requires_grad_(False)
            earlier.training[layer] = training
        return earlier


def _order(layer: int) -> float:
    """Sort key of a tower's layer: LAST comes after all blocks."""
    return math.inf if layer == LAST else layer


def codec_of(fingerprint: str) -> str:
    """Find the shipped weights for which an adapter was trained.

    Args:
        fingerprint: The fingerprint of the weights, in hexadecimal digits.

    Returns:
        Their name.

    Raises:
        UnknownModel: They are no longer shipped.
    """
    name = by_fingerprint(bytes.fromhex(fingerprint))
    if name is None:
        raise UnknownModel(
            f"the adapter was trained for the weights {fingerprint}, which are not shipped any more"
        )
    return name


def adapter_config(channels: int, tower: Tower, shape: Mapping[str, Any]) -> AdapterConfig:
    """The configuration of an adapter of a tower.

    Args:
        channels: Number of channels of the codec's latents.
        tower: The tower whose tokens are repaired.
        shape: Fields of AdapterConfig; `inner` and `heads` may be None (AdapterStage).
    """
    inner = shape.get("inner") or tower.width
    heads = shape.get("heads") or max(1, inner // CHANNELS_PER_HEAD)
    fields = dict(shape) | {"inner": inner, "heads": heads}
    return AdapterConfig(channels, tower.width, *tower.grid, tower.prefix, **fields)


class AdapterStage(ScheduledStage):
    """Trains codec.networks.adapter.TokenAdapter for one tower, one of its layers and one codec.

    Coding a crop takes longer than a training step on it, so each new batch is followed by
    `replays` batches from memory. The memory has the last `memory` batches in half precision; it is
    empty at the start of a resumed run. A picture's distance is weighted by exp(tilt t), where t is
    its mean log-rate: distances fall as quantization steps get finer, and equal relative changes
    should count equally. The repairs of earlier layers are frozen; they come from the adapter that
    a run starts from.

    ::

        crops x -> codec (frozen) -> x_hat -> tower up to `layer` -> tokens --+
                                 \\-> latents at the patches -----------------+--> memory
        memory -> tokens + TokenAdapter(latents, tokens) -> the tower's later layers
               -> MultiLevel distance to the tokens of x
    """

    def __init__(
        self,
        model: ModelConfig,
        maps: QpMaps,
        optimizer: MakeOptimizer,
        tower: str,
        tower_weights: str | None,
        levels: Mapping[str | int, float],
        learning_rate: float,
        warmup: int,
        steps: int,
        minutes: float | None = None,
        seed: int = 0,
        inner: int | None = 256,
        heads: int | None = 4,
        blocks: int = 2,
        sees: bool = True,
        replays: int = 3,
        memory: int = 2000,
        tilt: float = 0.9,
        layer: int = 0,
        patches_only: bool = False,
        codec: str | None = None,
        head: bool = True,
    ) -> None:
        """Load the tower.

        Args:
            model: The codec's configuration.
            maps: Draws the QPs of the crops.
            optimizer: Makes the optimizer.
            tower: Its name (codec.towers.load_tower).
            tower_weights: The tower's weights.
            levels: The weights of the loss's levels (training.losses.features.MultiLevel).
            learning_rate: The learning rate after the warm-up.
            warmup: Steps of the warm-up.
            steps: Length of the schedule in steps.
            minutes: Length of the schedule in minutes, if that ends first.
            seed: The seed of noise and maps.
            inner: The adapter's width; None for the tower's.
            heads: Number of its attention heads; None for one per 64 channels.
            blocks: Number of its transformer blocks.
            sees: Whether the adapter reads the tokens that it repairs.
            replays: How many batches from memory follow each new one.
            memory: The largest number of batches in memory.
            tilt: How a picture's weight grows with its log-rate.
            layer: The layer whose tokens are repaired (Tower.tokens).
            patches_only: Do not repair the class token.
            codec: Name or path of the codec weights to train the adapter for; by default those
                that it was trained for before.
            head: Whether a linear layer maps to the tower's width (networks.adapter).

        Raises:
            BadArgument: A level of the loss is before `layer`.
        """
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.features = MultiLevel(tower, tower_weights, levels)
        encoder = self.features.tower
        if any(_order(level) < _order(layer) for level in self.features.layers):
            raise BadArgument(
                f"an adapter of layer {layer} cannot change earlier ones: "
                "set stage.levels to later levels only"
            )
        shape = {
            "inner": inner,
            "heads": heads,
            "blocks": blocks,
            "sees": sees,
            "patches_only": patches_only,
            "head": head,
        }
        self.adapter = TokenAdapter(adapter_config(model.m, encoder, shape))
        # In a tuple: not saved, not averaged. `start_from` or a checkpoint sets the codec.
        self.frozen = (
            Networks(model).eval().requires_grad_(False),
            RateModel(model.z).requires_grad_(False),
        )
        self.fingerprint = ""
        self.codec = codec
        self.layer = layer
        self.earlier = Earlier({}, {})
        self.maps = maps
        self.tilt = tilt
        self.fresh_every = replays + 1
        self.memory: deque[Coded] = deque(maxlen=memory)

    def start_from(self, place: Path, crops: Callable[[], Tensor]) -> None:
        """Start from a codec's weights, or continue from an adapter or an adapter's run.

        Blocks that the earlier adapter does not have are initialised as the identity.

        Args:
            place: Weights of a codec or of an adapter (.safetensors), or a run's `last.ckpt`.
            crops: Not used.

        Raises:
            UnknownModel: The adapter's codec is no longer shipped.
        """
        if place.suffix != ".safetensors":
            state = read_checkpoint(place)
            self._continue_weights(weights_below(state["state_dict"], "adapter."))
            self._freeze_others_of(state)
        elif is_adapter(place):
            self._continue_adapter(load_adapter(place))
        else:
            self._freeze(load(place))

    def _continue_weights(self, stored: Mapping[str, Tensor]) -> None:
        for block in self.adapter.later_blocks(set(stored)):
            # These are the last layers of the residual branches: if they are zero, the block is the
            # identity.
            for last in (block.self_attn.out_proj, block.linear2):
                nn.init.zeros_(last.weight)
                nn.init.zeros_(last.bias)
        self.adapter.load_state_dict(self.adapter.state_dict() | dict(stored))

    def _continue_adapter(self, adapter: Adapter) -> None:
        """Freeze repairs of earlier layers, start from that of this layer, and drop later ones."""
        self._freeze(load(find(self.codec or codec_of(adapter.codec))))
        earlier = {
            layer: network
            for layer, network in adapter.networks.items()
            if _order(layer) < _order(self.layer)
        }
        self.earlier = Earlier(earlier, {layer: adapter.training(layer) for layer in earlier})
        if self.layer in adapter.networks:
            self._continue_weights(adapter.networks[self.layer].state_dict())

    def _freeze(self, checkpoint: Checkpoint) -> None:
        self.frozen = (from_checkpoint(checkpoint), self.frozen[1])
        self.fingerprint = checkpoint.fingerprint.hex()

    def _freeze_others_of(self, state: Mapping[str, Any]) -> None:
        """Load the earlier layers' repairs from a run's checkpoint, and the codec that it names."""
        self.earlier = Earlier.of_state(state.get("earlier", {}))
        # A checkpoint names its codec but does not contain it. Without this, a resumed run would
        # train with a codec of random weights.
        if self.fingerprint != state["codec"]:
            self._freeze(load(find(codec_of(state["codec"]))))

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._freeze_others_of(checkpoint)

    def on_fit_start(self) -> None:
        # They are no submodules, so Lightning does not move them to the device.
        for part in (*self.frozen, self.features.tower, *self.earlier.networks.values()):
            part.to(self.device)

    def training_step(self, x: Tensor, index: int) -> Tensor:
        if self.memory and self.global_step % self.fresh_every:
            coded = self.memory[int(torch.randint(len(self.memory), ()))].to(torch.float32)
        else:
            coded = self.coded(x.contiguous(memory_format=torch.channels_last))
            if self.fresh_every > 1:
                # In half precision, because up to `memory` batches are kept.
                self.memory.append(coded.to(torch.float16))
        distances, parts = self.distances(coded)
        loss = (distances * torch.exp(self.tilt * coded.t)).mean()
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts | {"t": coded.t.mean()}, prog_bar=True)
        return loss

    def distances(self, coded: Coded) -> Distance:
        """The distance [B] of each picture's repaired tokens to x's tokens, and values to log."""
        return distance(self.features.terms_of(self.tokens(coded)))

    @torch.no_grad()
    def coded(self, x: Tensor) -> Coded:
        """Code crops and compute the tower's tokens.

        Args:
            x: [B, 3, H, W] in 0..1, sides multiples of 64.
        """
        networks, rate_model = self.frozen
        tower = self.features.tower
        layers = self.features.layers
        qp = self.maps(x)
        coded = rate_model(networks, x, qp, rounded=True)
        # Latents are dequantised, because their unit in steps depends on the QP.
        samples = sample(networks.g_s.dequantised(coded.y_hat, qp).float(), qp, tower.grid)
        embedded = tower.tokens(tower.prepare(coded.x_hat.float()), [0])[0]
        entering, repairs = repaired(self.earlier.networks, samples, embedded)
        tokens = tower.continued(entering, [self.layer], repairs=repairs)[self.layer]
        targets = tower.tokens(tower.prepare(x), layers)
        return Coded(samples, tokens, targets, qp_to_t(qp.float()).mean((1, 2)))

    def tokens(self, coded: Coded) -> list[tuple[Tensor, Tensor]]:
        """(tokens of x, repaired tokens of x_hat) for each layer of the loss."""
        layers = self.features.layers
        repaired_tokens = coded.tokens + self.adapter(coded.samples, coded.tokens)
        tokens = self.features.tower.continued(repaired_tokens, layers, after=self.layer)
        return [(coded.targets[k].float(), tokens[k].float()) for k in layers]

    def parameter_groups(self) -> list[dict[str, Any]]:
        return [{"params": list(self.adapter.parameters()), "factor": 1.0}]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["codec"] = self.fingerprint
        checkpoint["earlier"] = self.earlier.state()
