"""Likelihoods of z and of y that training minimises: a learned density per channel, and a Gaussian.

Both come from "Variational image compression with a scale hyperprior" (Balle, Minnen, Singh,
Hwang, Johnston, arXiv 1802.01436). Symbols are integers, so a likelihood is the mass of a density
between half a step below a value and half a step above it. Coding uses frozen tables instead
(training/fit/tables.py).

Parameters have the names and the order of compressai's, so that runs started with it can resume.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Lower bound of likelihoods, 30 bits, which keeps the logarithm and its gradient finite.
LEAST_LIKELIHOOD = 1e-9
# Smallest scale in quantization steps. A narrower Gaussian has nearly all its mass in one step.
LEAST_SCALE = 0.11
# Widths of the four hidden layers of a channel's density (arXiv 1802.01436, section 6.1).
HIDDEN = (3, 3, 3, 3)
# Buffers that compressai keeps for its own entropy coder.
_UNUSED_STATE = (
    "_offset",
    "_quantized_cdf",
    "_cdf_length",
    "likelihood_lower_bound.bound",
    "lower_bound_scale.bound",
    "quantiles",
    "scale_bound",
    "scale_table",
    "target",
)


class _AtLeast(torch.autograd.Function):
    """max(x, bound). Below the bound, a gradient passes only if a descent step would raise x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, bound: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.bound = bound
        return x.clamp_min(bound)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        passes = (x >= ctx.bound) | (gradient < 0)
        return gradient * passes, None


def at_least(x: Tensor, bound: float) -> Tensor:
    """Clamp from below, but keep those gradients that lead back above the bound.

    Args:
        x: Any shape.
        bound: The smallest value of the result.

    Returns:
        max(x, bound), of the shape of x.
    """
    return _AtLeast.apply(x, bound)


class _WithoutCoderState(nn.Module):
    """Ignores the entropy coder's buffers in checkpoints of compressai's classes."""

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *others: Any, **named: Any
    ) -> None:
        for name in _UNUSED_STATE:
            state_dict.pop(prefix + name, None)
        super()._load_from_state_dict(state_dict, prefix, *others, **named)


class FactorizedDensity(_WithoutCoderState):
    """The likelihoods of z: a learned density per channel that depends on nothing else.

    The logit of a channel's cumulative distribution is a small network of the value. Its weights
    are positive, so that it is monotone (arXiv 1802.01436, section 6.1)::

        value -> [ softplus(H) v + b, then v + tanh(a) tanh(v) ] four times -> softplus(H) v + b
    """

    def __init__(self, channels: int, init_scale: float = 10.0) -> None:
        """Start as a wide density around zero.

        Args:
            channels: The channels of z.
            init_scale: Approximate initial width of the density, in quantization steps.
        """
        super().__init__()
        widths = (1, *HIDDEN, 1)
        gain = init_scale ** (1 / (len(widths) - 1))
        self.matrices = nn.ParameterList()
        self.biases = nn.ParameterList()
        self.factors = nn.ParameterList()
        for inputs, outputs in pairwise(widths):
            # softplus(weight) sums to 1 / gain in each layer: together they divide by init_scale.
            weight = math.log(math.expm1(1 / (gain * outputs)))
            self.matrices.append(torch.full((channels, outputs, inputs), weight))
            self.biases.append(torch.empty(channels, outputs, 1).uniform_(-0.5, 0.5))
        for width in HIDDEN:
            self.factors.append(torch.zeros(channels, width, 1))

    def logits(self, values: Tensor) -> Tensor:
        """The logit of each channel's cumulative distribution.

        Args:
            values: [C, 1, N].

        Returns:
            [C, 1, N], monotonically rising with the value.
        """
        logits = values
        for layer, (matrix, bias) in enumerate(zip(self.matrices, self.biases)):
            logits = F.softplus(matrix) @ logits + bias
            if layer < len(self.factors):
                logits = logits + self.factors[layer].tanh() * logits.tanh()
        return logits

    def forward(self, z: Tensor) -> Tensor:
        """Likelihoods of z with added uniform noise, one step wide, in place of rounding.

        Args:
            z: [B, C, H, W] in quantization steps.

        Returns:
            [B, C, H, W], from 1e-9 to 1.
        """
        by_channel = z.transpose(0, 1)
        values = by_channel.reshape(len(by_channel), 1, -1)
        noisy = values + torch.empty_like(values).uniform_(-0.5, 0.5)
        likelihood = self.logits(noisy + 0.5).sigmoid() - self.logits(noisy - 0.5).sigmoid()
        return at_least(likelihood, LEAST_LIKELIHOOD).reshape(by_channel.shape).transpose(0, 1)


class GaussianDensity(_WithoutCoderState):
    """The likelihoods of y minus its predicted mean: a Gaussian with mean zero."""

    def forward(self, residual: Tensor, scale: Tensor) -> Tensor:
        """The mass of a Gaussian within half a step of a value.

        Args:
            residual: Values minus their means, in quantization steps.
            scale: Standard deviations, of the same shape, in quantization steps.

        Returns:
            Likelihoods of the same shape, from 1e-9 to 1.
        """
        width = at_least(scale, LEAST_SCALE)
        # Both limits are mirrored to the negative side, where erfc is precise.
        distance = residual.abs()
        upper = _cumulative((0.5 - distance) / width)
        lower = _cumulative((-0.5 - distance) / width)
        return at_least(upper - lower, LEAST_LIKELIHOOD)


def _cumulative(x: Tensor) -> Tensor:
    """The cumulative distribution function of the standard normal distribution."""
    return 0.5 * torch.erfc(-(2**-0.5) * x)
