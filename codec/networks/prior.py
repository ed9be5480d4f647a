"""The integer prior: the mean and scale of every symbol, computed from what is decoded already.

It is a four-step prior. The checkerboard prior (He et al., CVPR 2021) codes one half of the
positions, then the other; this one codes a quarter of the channels at every position in each step,
like DCVC's parallel spatial-channel prior (arXiv 2502.20762). Each step runs on the 1/32 grid with
one tensor per step, so that no output is computed and thrown away (docs/decisions.md, 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.config import MEAN_LIMIT as MEAN_LIMIT
from codec.networks.config import MEAN_UNIT as MEAN_UNIT
from codec.networks.config import PRIOR_STEPS, SCALE_COUNT, LatentLayer, ModelConfig
from codec.networks.config import SCALE_GAIN as SCALE_GAIN
from codec.networks.config import SCALE_OFFSET as SCALE_OFFSET
from codec.networks.config import Z_UNIT as Z_UNIT
from codec.networks.gains import IntegerQpTable
from codec.networks.integer import (
    CLIP,
    IntegerBlock,
    IntegerConv,
    IntegerDepthwise,
    quantize_activation,
    round_half_up,
)

SCALE_MIN = 0.11  # quantization steps; the standard deviation of scale index 0
SCALE_MAX = 256.0  # quantization steps; that of the last scale index
QP_FEATURES = 16  # channels of the QP's embedding


def scale_table() -> Tensor:
    """Return the standard deviations of all scale indexes.

    Returns:
        [SCALE_COUNT], in quantization steps, log-spaced from SCALE_MIN to SCALE_MAX.
    """
    return scale_of(torch.arange(SCALE_COUNT))


def scale_of(index: Tensor) -> Tensor:
    """Return the standard deviation of scale indexes.

    Args:
        index: any shape. Indexes between whole numbers are interpolated, with a gradient.

    Returns:
        Quantization steps, of the same shape.
    """
    return torch.exp(index * (math.log(SCALE_MAX / SCALE_MIN) / (SCALE_COUNT - 1))) * SCALE_MIN


def split_steps(y: Tensor) -> list[Tensor]:
    """Split a latent into the sets of the four steps.

    Step s codes channel c at position s XOR (c mod 4) of each 2x2 cell, where the positions are
    counted (0,0), (1,1), (0,1), (1,0). So every step codes a quarter of the channels at every
    position (arXiv 2502.20762).

    Args:
        y: [B, M, 2 h, 2 w].

    Returns:
        Four sets [B, M, h, w] in coding order.
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
    """Undo `split_steps`: four sets [B, M, h, w] to y [B, M, 2 h, 2 w]."""
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
    """h_s: z_hat and the QP field -> the prior's features (integer-exact).

    Args:
        config: widths.
    """

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
        """Compute features.

        Args:
            z_hat: integers [B, Z, a, b], in -Z_LIMIT..Z_LIMIT.
            qp: QPs 0..63, [B, 4 a, 4 b] or [B, 1, 1].

        Returns:
            [B, P, 2 a, 2 b].
        """
        x = self.block4(quantize_activation(self.stem(z_hat * Z_UNIT), low=0.0))
        x = F.pixel_shuffle(quantize_activation(self.up(x)), 2)
        conditioned = quantize_activation(x + self.qp_in(self.qp_table(qp)), low=0.0)
        return self.block2(conditioned)


class LowFeatures(nn.Module):
    """HyperSynthesis of the preview's layer: fewer convolutions, P_low channels (integer-exact).

    Args:
        config: widths.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.up = IntegerConv(config.z, 4 * config.p_low)
        self.qp_table = IntegerQpTable(QP_FEATURES)
        self.qp_in = IntegerConv(4 * QP_FEATURES, config.p_low)
        self.block2 = IntegerBlock(config.p_low)

    def forward(self, z_hat: Tensor, qp: Tensor) -> Tensor:
        """Compute features [B, P_low, 2 a, 2 b]; arguments as HyperSynthesis takes them."""
        x = F.pixel_shuffle(quantize_activation(self.up(z_hat * Z_UNIT)), 2)
        return self.block2(quantize_activation(x + self.qp_in(self.qp_table(qp)), low=0.0))


class PriorStep(nn.Module):
    """Mean and scale index of one step's set, from features and earlier sets (integer-exact).

    ::

        earlier sets [B, inputs, a, b] -> 1x1 --+--> relu -> block -> 1x1 -> mean, scale index
        features     [B, width, a, b] ----------+                           [B, outputs, a, b] each

    Args:
        inputs: channels of all earlier sets; 0 for the first step of the first layer.
        width: channels of the features.
        outputs: channels of the set.
        with_block: whether to use a residual block; otherwise a depthwise layer, which is faster.
    """

    def __init__(self, inputs: int, width: int, outputs: int, with_block: bool = True) -> None:
        super().__init__()
        self.context = IntegerConv(inputs, width, init=0.3) if inputs else None
        self.block = IntegerBlock(width) if with_block else IntegerDepthwise(width)
        self.head = IntegerConv(width, 2 * outputs, init=0.2)

    def forward(
        self, features: Tensor, context: list[Tensor], mean_scale: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Predict a set.

        Args:
            features: [B, width, a, b].
            context: the earlier sets as activations (Prior.as_context), `inputs` channels in all.
            mean_scale: [1, outputs, 1, 1], powers of two that the means are multiplied by.

        Returns:
            mean: [B, outputs, a, b], multiples of MEAN_UNIT in -MEAN_LIMIT..MEAN_LIMIT.
            index: [B, outputs, a, b], scale indexes 0..SCALE_COUNT - 1 as float.
        """
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
    """h_s and the four prior steps of each layer.

    ::

        z, QP --+-> LowFeatures -> low_steps 0..3 -> the preview's channels --+
                +-> HyperSynthesis ---------------------> steps 0..3 <--------+  -> the others

    Args:
        config: widths.

    Attributes:
        mean_scale: [1, M, 1, 1], powers of two: how large each channel of y is, in quantization
            steps. Channels are divided by it before they enter the prior, because the range of
            integer activations is too small for the DC channels.
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
        """Return the four steps of a layer in coding order."""
        steps = self.low_steps if layer != self.layers[-1] else self.steps
        return [step for step in steps if isinstance(step, PriorStep)]

    def _scale(self, layer: LatentLayer) -> Tensor:
        return self.mean_scale[:, layer.start : layer.stop]

    def features(self, layer: LatentLayer, z_hat: Tensor, qp: Tensor) -> Tensor:
        """Compute the features that a layer's steps start from.

        Args:
            layer: the layer of y.
            z_hat: integers [B, Z, a, b], in -Z_LIMIT..Z_LIMIT.
            qp: QPs 0..63, [B, 4 a, 4 b] or [B, 1, 1].

        Returns:
            [B, P, 2 a, 2 b], or P_low channels for the preview's layer.
        """
        return self.hyper(z_hat, qp) if layer == self.layers[-1] else self.low_hyper(z_hat, qp)

    def as_context(self, layer: LatentLayer, y_hat_set: Tensor) -> Tensor:
        """Turn decoded values of a layer into activations: scaled per channel, rounded, clipped.

        Args:
            layer: the layer of y.
            y_hat_set: [B, C, a, b], one set of the layer.

        Returns:
            [B, C, a, b], in -CLIP..CLIP.
        """
        return quantize_activation(y_hat_set / self._scale(layer), low=-CLIP)

    def step(
        self, layer: LatentLayer, index: int, features: Tensor, context: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Predict a set of a layer.

        Args:
            layer: the layer of y.
            index: the step 0..3.
            features: from `features`.
            context: `as_context` of all earlier sets, in coding order.

        Returns:
            mean: [B, C, a, b], multiples of MEAN_UNIT.
            index: [B, C, a, b], scale indexes 0..SCALE_COUNT - 1 as float.
        """
        return self.steps_of(layer)[index](features, context, self._scale(layer))

    def code(
        self,
        y: Tensor,
        z_hat: Tensor,
        qp: Tensor,
        code_set: Callable[[Tensor, Tensor, Tensor], Tensor],
    ) -> Tensor:
        """Code a latent set by set.

        Args:
            y: [B, M, 4 a, 4 b].
            z_hat: integers [B, Z, a, b], in -Z_LIMIT..Z_LIMIT.
            qp: QPs 0..63, [B, 4 a, 4 b] or [B, 1, 1].
            code_set: maps the values, mean and scale index of a set to the set as decoded.

        Returns:
            y_hat [B, M, 4 a, 4 b].
        """
        context: list[Tensor] = []
        decoded = []
        for layer in self.layers:
            features = self.features(layer, z_hat, qp)
            sets = []
            for index, values in enumerate(split_steps(y[:, layer.start : layer.stop])):
                mean, scale_index = self.step(layer, index, features, context)
                sets.append(code_set(values, mean, scale_index))
                context.append(self.as_context(layer, sets[-1]))
            decoded.append(merge_steps(sets))
        return torch.cat(decoded, 1)
