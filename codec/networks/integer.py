"""Integer arithmetic carried in floating point: the part of the codec that must agree on every machine.

Invariant: every activation is an integer multiple of 2^-FRACTION_BITS with |activation| <= ACTIVATION_MAX * 2^-FRACTION_BITS,
every weight an int8 times a power of two per output channel, and for every output channel

    ACTIVATION_MAX * sum|w_int| + |b_int| < 2^24,

so that each partial sum is an integer below 2^24 (times one power of two), which float32 represents exactly whatever the order
of summation. Rounding is floor(v + 1/2), saturation is clipping. Training runs the very same arithmetic with straight-through
gradients (Balle, Johnston, Minnen: Integer networks for data compression with latent-variable models, ICLR 2019).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FRACTION_BITS = 6
ACTIVATION_MAX = 511
WEIGHT_MAX = 127
EXACT_LIMIT = 1 << 24
UNIT = 2.0**-FRACTION_BITS
CLIP = ACTIVATION_MAX * UNIT
_HALF = torch.tensor(0.5, dtype=torch.float32, device="cpu")


class _StraightThrough(torch.autograd.Function):
    """What was made of v, with v's gradient as if it were v itself."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, made: Tensor) -> Tensor:
        return made

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


def round_half_up(v: Tensor) -> Tensor:
    """floor(v + 1/2) with a straight-through gradient."""
    return (
        _StraightThrough.apply(v, torch.floor(v.detach() + 0.5))
        if v.requires_grad
        else torch.floor(v + 0.5)
    )


def _to_units(v: Tensor) -> Tensor:
    """v rounded to multiples of 2^-FRACTION_BITS."""
    return torch.add(_HALF, v, alpha=2.0**FRACTION_BITS).floor_().mul_(UNIT)


class _Activation(torch.autograd.Function):
    """One node instead of the five that the formula has: there are a hundred of them in a training step."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, low: float) -> Tensor:
        made = _to_units(v)
        ctx.save_for_backward((made <= low).logical_or_(made >= CLIP))
        return made.clamp_(low, CLIP)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.masked_fill(ctx.saved_tensors[0], 0), None


def quantize_activation(v: Tensor, low: float = -CLIP) -> Tensor:
    """Round to multiples of 2^-FRACTION_BITS and clip to [low, CLIP]; the gradient passes rounding, and ends at either limit."""
    if v.requires_grad:
        return _Activation.apply(v, low)
    return _to_units(v).clamp_(low, CLIP)


def weight_exponents(weight: Tensor, bias: Tensor) -> Tensor:
    """The largest k per output channel such that round(weight * 2^k) is int8 and the layer's bound holds.

    weight: [out, in, kh, kw]; bias: [out]; returns float [out] holding integers in -8..20.
    """
    rows = weight.detach().abs().flatten(1)
    fan_in = rows.shape[1]
    budget = (EXACT_LIMIT - 2 - ACTIVATION_MAX * fan_in * 0.5) / (
        ACTIVATION_MAX * rows.sum(1) + bias.detach().abs() * 2.0**FRACTION_BITS + 1e-12
    )
    k = torch.minimum(WEIGHT_MAX / (rows.amax(1) + 1e-12), budget).log2().floor()
    return k.clamp(-8, 20)


class IntegerConv(nn.Module):
    """A 1x1 or depthwise convolution in integer arithmetic. Input and output: multiples of 2^-FRACTION_BITS.

    In training the int8 weights are derived from float ones at each call (fake quantisation); after `load_integers` they are
    buffers, and the float ones are gone. The output is not yet rounded: callers add, round and clip once.
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
        """(w_int [out, in/groups, kh, kw], b_int [out], k [out]): weight = w_int 2^-k, bias = b_int 2^-(k + FRACTION_BITS)."""
        k = weight_exponents(self.weight, self.bias)
        scale = torch.exp2(k)
        w_int = round_half_up(self.weight * scale[:, None, None, None]).clamp(
            -WEIGHT_MAX, WEIGHT_MAX
        )
        b_int = round_half_up(self.bias * (scale * 2.0**FRACTION_BITS))
        return w_int, b_int, k

    def bound(self) -> int:
        """The largest absolute partial sum any input can cause, in units of the accumulator; exact while below 2^24."""
        w_int, b_int, _ = (v.detach().double() for v in self.quantized())
        return int((ACTIVATION_MAX * w_int.abs().flatten(1).sum(1) + b_int.abs()).max())

    def load_integers(self, w_int: Tensor, b_int: Tensor, k: Tensor) -> None:
        """Set integer weights; see `quantized` for shapes. Marks the layer frozen."""
        scale = torch.exp2(-k.float())
        self.weight = nn.Parameter(w_int.float() * scale[:, None, None, None], requires_grad=False)
        self.bias = nn.Parameter(b_int.float() * scale * UNIT, requires_grad=False)
        self.frozen = True

    def forward(self, x: Tensor) -> Tensor:
        if self.frozen:
            return F.conv2d(x, self.weight, self.bias, padding=self.padding, groups=self.groups)
        with torch.no_grad():
            w_int, b_int, k = self.quantized()
            scale = torch.exp2(-k)
            made = w_int * scale[:, None, None, None], b_int * (scale * UNIT)
        weight, bias = (
            _StraightThrough.apply(v, m)
            for v, m in zip((self.weight, self.bias), made, strict=True)
        )
        return F.conv2d(x, weight, bias, padding=self.padding, groups=self.groups)


class IntegerBlock(nn.Module):
    """Residual block of the prior: x + pointwise(relu(pointwise(depthwise 3x3(x)))), rounded after each layer."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = IntegerConv(channels, channels, 3, groups=channels)
        self.expand = IntegerConv(channels, channels)
        self.project = IntegerConv(channels, channels, init=0.1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = quantize_activation(self.depthwise(x))
        hidden = quantize_activation(self.expand(hidden), low=0.0)
        return quantize_activation(x + self.project(hidden))


class IntegerDepthwise(nn.Module):
    """x + depthwise 3x3(x), rounded: a look at the neighbours for little."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = IntegerConv(channels, channels, 3, groups=channels, init=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return quantize_activation(x + self.depthwise(x))


def integer_layers(module: nn.Module) -> dict[str, IntegerConv]:
    """Every integer layer of a network by its dotted name."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, IntegerConv)}
