"""The integer prior: mean and scale of every symbol from z, the QP field and what is decoded already, in four steps a layer."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.config import PRIOR_STEPS, LatentLayer, ModelConfig
from codec.networks.gains import IntegerQpTable
from codec.networks.integer import (
    CLIP,
    IntegerBlock,
    IntegerConv,
    IntegerDepthwise,
    quantize_activation,
    round_half_up,
)

MEAN_UNIT = 1 / 16
MEAN_LIMIT = 2048.0
SCALE_COUNT = 64
SCALE_MIN = 0.11
SCALE_MAX = 256.0
SCALE_OFFSET = 20.0
SCALE_GAIN = 8.0
Z_LIMIT = 31
Z_UNIT = 1 / 4
QP_FEATURES = 16


def scale_table() -> Tensor:
    """The 64 standard deviations, log-spaced from 0.11 to 256, in quantization steps."""
    return scale_of(torch.arange(SCALE_COUNT))


def scale_of(index: Tensor) -> Tensor:
    """Standard deviations of scale indexes, differentiable between them: `scale_table` at whole ones."""
    return torch.exp(index * (math.log(SCALE_MAX / SCALE_MIN) / (SCALE_COUNT - 1))) * SCALE_MIN


def split_steps(y: Tensor) -> list[Tensor]:
    """y [B, M, 2 h, 2 w] -> four sets [B, M, h, w], in coding order.

    Step s codes channel c at position s XOR (c mod 4) of each 2x2 cell, positions counted (0,0), (1,1), (0,1), (1,0): every
    step sees all places and a quarter of the channels at each, as in DCVC's parallel spatial-channel prior (arXiv 2502.20762).
    """
    b, m, h, w = y.shape
    cells = F.pixel_unshuffle(y, 2).view(b, m // 4, 4, 4, h // 2, w // 2)
    order = (0, 3, 1, 2)
    sets = []
    for step in range(PRIOR_STEPS):
        parts = [cells[:, :, group, order[step ^ group]] for group in range(4)]
        sets.append(torch.stack(parts, 2).reshape(b, m, h // 2, w // 2))
    return sets


def merge_steps(sets: list[Tensor]) -> Tensor:
    """The inverse of `split_steps`."""
    b, m, h, w = sets[0].shape
    parts = [s.view(b, m // 4, 4, h, w) for s in sets]
    order = (0, 3, 1, 2)
    position_to_index = {position: index for index, position in enumerate(order)}
    groups = []
    for group in range(4):
        cells = [parts[position_to_index[position] ^ group][:, :, group] for position in range(4)]
        groups.append(torch.stack(cells, 2))
    cells6 = torch.stack(groups, 2)  # [b, m/4, group, position, h, w]
    return F.pixel_shuffle(cells6.reshape(b, m * 4, h, w), 2)


class HyperSynthesis(nn.Module):
    """h_s: z_hat [B, Z, a, b] and the QP field [B, 4 a, 4 b] -> the prior's features [B, P, 2 a, 2 b] (integer-exact)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        p = config.p
        self.stem = IntegerConv(config.z, p)
        self.block4 = IntegerBlock(p)
        self.up = IntegerConv(p, 4 * p)
        self.qp_table = IntegerQpTable(QP_FEATURES)
        self.qp_in = IntegerConv(4 * QP_FEATURES, p)
        self.block2 = IntegerBlock(p)

    def forward(self, z_hat: Tensor, qp: Tensor) -> Tensor:
        x = self.block4(quantize_activation(self.stem(z_hat * Z_UNIT), low=0.0))
        x = F.pixel_shuffle(quantize_activation(self.up(x)), 2)
        conditioned = quantize_activation(x + self.qp_in(self.qp_table(qp)), low=0.0)
        return self.block2(conditioned)


class LowFeatures(nn.Module):
    """As HyperSynthesis, for the preview layer's prior: few layers, P_low channels (integer-exact)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = IntegerConv(config.z, 4 * config.p_low)
        self.qp_table = IntegerQpTable(QP_FEATURES)
        self.qp_in = IntegerConv(4 * QP_FEATURES, config.p_low)
        self.block2 = IntegerBlock(config.p_low)

    def forward(self, z_hat: Tensor, qp: Tensor) -> Tensor:
        x = F.pixel_shuffle(quantize_activation(self.up(z_hat * Z_UNIT)), 2)
        return self.block2(quantize_activation(x + self.qp_in(self.qp_table(qp)), low=0.0))


class PriorStep(nn.Module):
    """Mean and scale index of one step's set, from the features and the sets before it (integer-exact).

    ::

        sets before [B, inputs, a, b] -> 1x1 --+--> relu -> block -> 1x1 -> mean, scale index [B, outputs, a, b] each
        features    [B, width, a, b] ----------+
    """

    def __init__(self, inputs: int, width: int, outputs: int, with_block: bool = True) -> None:
        super().__init__()
        self.context = IntegerConv(inputs, width, init=0.3) if inputs else None
        self.block = IntegerBlock(width) if with_block else IntegerDepthwise(width)
        self.head = IntegerConv(width, 2 * outputs, init=0.2)

    def forward(
        self, features: Tensor, context: list[Tensor], mean_scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        x = features
        if self.context is not None:
            x = quantize_activation(x + self.context(torch.cat(context, 1)), low=0.0)
        mean, scale = self.head(self.block(x)).chunk(2, 1)
        mean = (round_half_up(mean * (mean_scale / MEAN_UNIT)) * MEAN_UNIT).clamp(
            -MEAN_LIMIT, MEAN_LIMIT
        )
        index = round_half_up(scale * SCALE_GAIN + SCALE_OFFSET).clamp(0, SCALE_COUNT - 1)
        return mean, index


def _steps(before: int, width: int, channels: int, with_block: bool) -> nn.ModuleList:
    return nn.ModuleList(
        PriorStep(before + step * channels, width, channels, with_block)
        for step in range(PRIOR_STEPS)
    )


class Prior(nn.Module):
    """h_s and the four prior steps of each layer. `mean_scale` [M] (powers of two) says how large each channel of y is in steps.

    ::

        z, QP --+-> LowFeatures -> low_steps 0..3 -> the preview's channels --+
                +-> HyperSynthesis ---------------------> steps 0..3 <--------+  -> the others
    """

    mean_scale: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.layers = config.layers
        self.hyper = HyperSynthesis(config)
        self.steps = _steps(4 * config.low, config.p, config.m - config.low, config.step_block)
        if config.low:
            self.low_hyper = LowFeatures(config)
            self.low_steps = _steps(0, config.p_low, config.low, config.step_block)
        self.register_buffer("mean_scale", torch.ones(1, config.m, 1, 1))

    def steps_of(self, layer: LatentLayer) -> list[PriorStep]:
        """The four, in coding order."""
        steps = self.low_steps if layer != self.layers[-1] else self.steps
        return [step for step in steps if isinstance(step, PriorStep)]

    def _scale(self, layer: LatentLayer) -> Tensor:
        return self.mean_scale[:, layer.start : layer.stop]

    def features(self, layer: LatentLayer, z_hat: Tensor, qp: Tensor) -> Tensor:
        """What the layer's steps start from [B, P, 2 a, 2 b]; z_hat [B, Z, a, b], qp [B, 4 a, 4 b] or [B, 1, 1]."""
        return self.hyper(z_hat, qp) if layer == self.layers[-1] else self.low_hyper(z_hat, qp)

    def as_context(self, layer: LatentLayer, y_hat_set: Tensor) -> Tensor:
        """Decoded values [B, C, a, b] of a layer as activations: scaled per channel, rounded and clipped."""
        return quantize_activation(y_hat_set / self._scale(layer), low=-CLIP)

    def step(
        self, layer: LatentLayer, index: int, features: Tensor, context: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Mean (multiples of 1/16) and scale index (0..63, as float) of set `index`.

        context: `as_context` of all sets before, those of the layers before it first.
        """
        return self.steps_of(layer)[index](features, context, self._scale(layer))

    def code(
        self,
        y: Tensor,
        z_hat: Tensor,
        qp: Tensor,
        code_set: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        """y [B, M, 4 a, 4 b] -> y_hat, set by set. code_set: values, mean and scale index of a set -> the set as decoded."""
        context: list[Tensor] = []
        coded = []
        for layer in self.layers:
            features = self.features(layer, z_hat, qp)
            sets = []
            for index, values in enumerate(split_steps(y[:, layer.start : layer.stop])):
                mean, scale_index = self.step(layer, index, features, context)
                sets.append(code_set(values, mean, scale_index))
                context.append(self.as_context(layer, sets[-1]))
            coded.append(merge_steps(sets))
        return torch.cat(coded, 1)
