"""Integer arithmetic carried in floating point: the part that must agree on every machine.

Invariant: every activation is an integer multiple of 2^-FRACTION_BITS with
|activation| <= ACTIVATION_MAX * 2^-FRACTION_BITS, every weight is an int8 times a power of two per
output channel, and for every output channel

    ACTIVATION_MAX * sum|w_int| + |b_int| < 2^24,

so that each partial sum is an integer below 2^24 (times one power of two), which float32 represents
exactly whatever the order of summation. Rounding is floor(v + 1/2), saturation is clipping.
Training runs the same arithmetic with straight-through gradients (Balle, Johnston, Minnen: Integer
networks for data compression with latent-variable models, ICLR 2019).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.config import ACTIVATION_MAX as ACTIVATION_MAX
from codec.networks.config import EXACT_LIMIT as EXACT_LIMIT
from codec.networks.config import FRACTION_BITS as FRACTION_BITS

WEIGHT_MAX = 127  # of an int8 weight
EXPONENT_MIN = -8  # of a weight's power of two
EXPONENT_MAX = 20
UNIT = 2.0**-FRACTION_BITS
CLIP = ACTIVATION_MAX * UNIT
_HALF = torch.tensor(0.5, dtype=torch.float32, device="cpu")


class _StraightThrough(torch.autograd.Function):
    """Return `result` in the forward pass and pass the gradient to v, as if result were v."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, result: Tensor) -> Tensor:
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def round_half_up(v: Tensor) -> Tensor:
    """Return floor(v + 1/2), with a straight-through gradient.

    Args:
        v: any shape.

    Returns:
        Integers as float, of the same shape.
    """
    if v.requires_grad:
        return _StraightThrough.apply(v, torch.floor(v.detach() + 0.5))
    return torch.floor(v + 0.5)


def _to_units(v: Tensor) -> Tensor:
    """Round v to multiples of 2^-FRACTION_BITS."""
    return torch.add(_HALF, v, alpha=2.0**FRACTION_BITS).floor_().mul_(UNIT)


class _Activation(torch.autograd.Function):
    """One autograd node instead of five: a training step has a hundred of these roundings."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, low: float) -> Tensor:
        rounded = _to_units(v)
        ctx.save_for_backward((rounded <= low).logical_or_(rounded >= CLIP))
        return rounded.clamp_(low, CLIP)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.masked_fill(ctx.saved_tensors[0], 0), None


def quantize_activation(v: Tensor, low: float = -CLIP) -> Tensor:
    """Round to multiples of 2^-FRACTION_BITS and clip.

    The gradient passes the rounding unchanged and is zero at and beyond either limit.

    Args:
        v: any shape.
        low: the lower limit; 0 makes this a ReLU.

    Returns:
        Values in [low, CLIP], of the same shape.
    """
    if v.requires_grad:
        return _Activation.apply(v, low)
    return _to_units(v).clamp_(low, CLIP)


def weight_exponents(weight: Tensor, bias: Tensor) -> Tensor:
    """Return the largest k per output channel for which the layer is exact.

    With it, round(weight * 2^k) is an int8 and the bound at the head of this module holds, the
    rounding of weights and bias included. So no trained layer can violate the bound.

    Args:
        weight: [out, in, kh, kw].
        bias: [out].

    Returns:
        Float [out], integers in EXPONENT_MIN..EXPONENT_MAX.
    """
    rows = weight.detach().abs().flatten(1)
    fan_in = rows.shape[1]
    # Rounding adds at most 1/2 to each weight and to the bias, so this much is set aside.
    budget = (EXACT_LIMIT - 2 - ACTIVATION_MAX * fan_in * 0.5) / (
        ACTIVATION_MAX * rows.sum(1) + bias.detach().abs() * 2.0**FRACTION_BITS + 1e-12
    )
    k = torch.minimum(WEIGHT_MAX / (rows.amax(1) + 1e-12), budget).log2().floor()
    return k.clamp(EXPONENT_MIN, EXPONENT_MAX)


class IntegerConv(nn.Module):
    """A 1x1 or depthwise convolution in integer arithmetic.

    The input holds multiples of 2^-FRACTION_BITS. The output is exact and not yet rounded: callers
    add, round and clip once. In training, each call derives the int8 weights from float ones (fake
    quantisation). `load_integers` replaces the float weights with the exact values of int8 ones.

    Args:
        inputs: channels of the input.
        outputs: channels of the output.
        kernel: side of the kernel, odd; the border is padded with zeros.
        groups: groups of channels; `inputs` makes the layer depthwise.
        init: factor of the initial weights.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1, init: float = 1.0
    ) -> None:
        super().__init__()
        conv = nn.Conv2d(inputs, outputs, kernel, groups=groups)
        self.groups = groups
        self.padding = kernel // 2
        self.weight = nn.Parameter(conv.weight.data * init)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.frozen = False

    def quantized(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the layer in integers, carried as float.

        weight = w_int 2^-k and bias = b_int 2^-(k + FRACTION_BITS).

        Returns:
            w_int: [out, in / groups, kh, kw], in -WEIGHT_MAX..WEIGHT_MAX.
            b_int: [out].
            k: [out].
        """
        k = weight_exponents(self.weight, self.bias)
        scale = torch.exp2(k)
        w_int = round_half_up(self.weight * scale[:, None, None, None]).clamp(
            -WEIGHT_MAX, WEIGHT_MAX
        )
        b_int = round_half_up(self.bias * (scale * 2.0**FRACTION_BITS))
        return w_int, b_int, k

    def bound(self) -> int:
        """Return the largest absolute partial sum that any input can cause.

        Returns:
            The sum in units of the accumulator. The layer is exact while this is below 2^24.
        """
        w_int, b_int, _ = (v.detach().double() for v in self.quantized())
        return int((ACTIVATION_MAX * w_int.abs().flatten(1).sum(1) + b_int.abs()).max())

    def load_integers(self, w_int: Tensor, b_int: Tensor, k: Tensor) -> None:
        """Set integer weights and freeze the layer.

        Args:
            w_int: as `quantized` returns it.
            b_int: as `quantized` returns it.
            k: as `quantized` returns it.
        """
        scale = torch.exp2(-k.float())
        self.weight = nn.Parameter(w_int.float() * scale[:, None, None, None], requires_grad=False)
        self.bias = nn.Parameter(b_int.float() * scale * UNIT, requires_grad=False)
        self.frozen = True

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs, h, w] to [B, outputs, h, w]."""
        if self.frozen:
            return self._exact(x)
        with torch.no_grad():
            w_int, b_int, k = self.quantized()
            scale = torch.exp2(-k)
            exact_weight = w_int * scale[:, None, None, None]
            exact_bias = b_int * (scale * UNIT)
        weight = _StraightThrough.apply(self.weight, exact_weight)
        bias = _StraightThrough.apply(self.bias, exact_bias)
        return F.conv2d(x, weight, bias, padding=self.padding, groups=self.groups)

    def _exact(self, x: Tensor) -> Tensor:
        """The frozen layer."""
        if self.padding:
            return F.conv2d(x, self.weight, self.bias, padding=self.padding, groups=self.groups)
        # One matrix product is a tenth faster than the convolution, and exact as well.
        rows = F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias)
        return rows.permute(0, 3, 1, 2)


class IntegerBlock(nn.Module):
    """Residual block of the prior: x + pointwise(relu(pointwise(depthwise 3x3(x)))).

    Rounds after each layer. Input and output: multiples of 2^-FRACTION_BITS.

    Args:
        channels: channels of the input and the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = IntegerConv(channels, channels, 3, groups=channels)
        self.expand = IntegerConv(channels, channels)
        self.project = IntegerConv(channels, channels, init=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, h, w] to the same shape."""
        hidden = quantize_activation(self.depthwise(x))
        hidden = quantize_activation(self.expand(hidden), low=0.0)
        return quantize_activation(x + self.project(hidden))


class IntegerDepthwise(nn.Module):
    """x + depthwise 3x3(x), rounded: a cheap way to use the neighbours.

    Args:
        channels: channels of the input and the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = IntegerConv(channels, channels, 3, groups=channels, init=0.1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, channels, h, w] to the same shape."""
        return quantize_activation(x + self.depthwise(x))


def integer_layers(module: nn.Module) -> dict[str, IntegerConv]:
    """Return every integer layer of a network by its dotted name."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, IntegerConv)}
