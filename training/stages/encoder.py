"""The stage that trains only the analysis of a codec; the decoder does not change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from codec.errors import UnknownModel
from codec.networks.config import Z_LIMIT, ModelConfig
from codec.networks.gains import qp_to_t
from codec.networks.integer import round_half_up
from codec.networks.model import Networks
from codec.networks.transforms import Analysis
from codec.tuning.eyes import TINY
from codec.tuning.picture import EXCHANGE, FALL, coded_latent
from codec.weights.checkpoint import by_fingerprint, find, load
from codec.weights.networks import from_checkpoint, trainable_from_checkpoint
from training.data.qp_maps import QpMaps
from training.losses.features import MultiLevel
from training.optim.schedule import MakeOptimizer, ScheduledStage
from training.run import read_checkpoint

ANALYSIS = "g_a."  # the prefix of its arrays


class EncoderStage(ScheduledStage):
    """Trains g_a with the objective that tuning uses for single files (codec.tuning.descent).

    All other networks are frozen.

    ::

        x, QP -> g_a -> y -> prior -> bits R                   log R + a (0.9 log D + 0.1 log P)
                        \\-> g_s -> x_hat -+-> tower -> log D
        x ----------------------------------+-> squared error P

    log D is a weighted mean of the levels' logarithms; a is the tuner's exchange rate at the
    picture's mean QP. Because of the logarithms, all pictures and qualities have the same weight.
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
        pixel_share: float = 0.1,
        gain_factor: float = 5.0,
        blocks_a16: int = 2,
    ) -> None:
        """Load the tower.

        Args:
            model: The codec's configuration.
            maps: Draws the QPs of the crops.
            optimizer: Makes the optimizer.
            tower: Its name (codec.towers.load_tower).
            tower_weights: The tower's weights.
            levels: Weights of the layers' logarithms (training.losses.features.MultiLevel).
            learning_rate: The learning rate after the warm-up.
            warmup: Steps of the warm-up.
            steps: Length of the schedule in steps.
            minutes: Length of the schedule in minutes, if that ends first.
            seed: The seed of the maps.
            pixel_share: The weight of log P, 0..1; that of log D is 1 - pixel_share.
            gain_factor: Learning rate of the step sizes relative to that of the weights.
            blocks_a16: Number of blocks at 1/16 of the trained analysis; blocks that the codec's
                analysis lacks are initialised as the identity.
        """
        super().__init__(optimizer, learning_rate, warmup, steps, minutes, seed)
        self.features = MultiLevel(tower, tower_weights, levels)
        self.maps = maps
        self.pixel_share = pixel_share
        self.gain_factor = gain_factor
        self.config = ModelConfig(**(model.to_dict() | {"blocks_a16": blocks_a16}))
        self.g_a = Analysis(self.config)
        self.fingerprint = ""
        self.skip_below = 0
        # In a tuple: not saved, not averaged. `start_from` or a checkpoint sets the codec.
        self.frozen = (Networks(model).eval().requires_grad_(False),)

    def start_from(self, place: Path, crops: Callable[[], Tensor]) -> None:
        """Start from a codec's analysis, and train for that codec.

        Args:
            place: Exported weights, or another run's `last.ckpt`.
            crops: Not used.

        Raises:
            UnknownModel: The weights do not have the sizes of the model, or a run's codec is no
                longer shipped.
        """
        if place.suffix != ".safetensors":
            super().start_from(place, crops)
            self._freeze(codec_of(read_checkpoint(place)["codec"]))
            return
        self._freeze(place)
        self.g_a = trainable_from_checkpoint(load(place), self.config).g_a

    def _freeze(self, place: Path) -> None:
        checkpoint = load(place)
        self.frozen = (from_checkpoint(checkpoint),)
        self.fingerprint = checkpoint.fingerprint.hex()
        self.skip_below = checkpoint.skip_below

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["codec"] = self.fingerprint

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self._freeze(codec_of(checkpoint["codec"]))

    def on_fit_start(self) -> None:
        for part in (*self.frozen, self.features.tower):
            part.to(self.device)

    def training_step(self, x: Tensor, index: int) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        qp = self.maps(x)
        value, parts = self.objective(x, qp)
        loss = value.mean()
        self.log("loss", loss, prog_bar=True)
        self.log_dict(parts | {"qp": qp.float().mean()}, prog_bar=True)
        return loss

    def objective(self, x: Tensor, qp: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The objective to minimise.

        Args:
            x: [B, 3, H, W] in 0..1, sides multiples of 64.
            qp: [B, H/16, W/16].

        Returns:
            The value of each picture [B], and the mean logarithms to log.
        """
        networks = self.frozen[0]
        y = self.g_a(x, qp).float()
        with torch.no_grad():
            z = round_half_up(networks.h_a(y)).clamp(-Z_LIMIT, Z_LIMIT)
        y_hat, bits = coded_latent(networks, self.skip_below, y, z, qp)
        x_hat = networks.g_s(y_hat, qp).clamp(0, 1)
        rate = bits.clamp(min=1).log()
        pixels = (x_hat - x).square().mean((1, 2, 3)).add(TINY).log()
        levels = {
            f"D_{level}": weight * (decoded - original).square().mean((1, 2)).add(TINY).log()
            for (level, weight), (original, decoded) in zip(
                self.features.levels.items(), self.features.both(x, x_hat, self.features.layers)
            )
        }
        tokens = torch.stack(list(levels.values())).sum(0) / sum(self.features.levels.values())
        share = self.pixel_share
        exchange = EXCHANGE * torch.exp(-FALL * qp_to_t(qp.float()).mean((1, 2)))
        value = rate + exchange * ((1 - share) * tokens + share * pixels)
        parts = levels | {"R": rate, "P": pixels, "D": tokens}
        return value, {name: part.mean().detach() for name, part in parts.items()}

    def parameter_groups(self) -> list[dict[str, Any]]:
        groups: dict[float, list[Tensor]] = {1.0: [], self.gain_factor: []}
        for name, parameter in self.g_a.named_parameters():
            # Logarithms of step sizes have another scale than the weights.
            groups[self.gain_factor if name.endswith("log_gain") else 1.0].append(parameter)
        return [{"params": parameters, "factor": factor} for factor, parameters in groups.items()]


def codec_of(fingerprint: str) -> Path:
    """The file of the shipped weights with a fingerprint, given in hexadecimal digits.

    Raises:
        UnknownModel: They are no longer shipped.
    """
    name = by_fingerprint(bytes.fromhex(fingerprint))
    if name is None:
        raise UnknownModel(
            f"the encoder was trained for the weights {fingerprint}, which are not shipped any more"
        )
    return find(name)
