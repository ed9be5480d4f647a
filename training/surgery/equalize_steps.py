"""Equalize step sizes without training: finer where an error costs much, coarser elsewhere."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor

from codec.networks.config import QP_COUNT, SCALE_COUNT, STRIDE_Y
from codec.networks.integer import round_half_up
from codec.networks.model import Networks
from codec.networks.prior import SCALE_GAIN, SCALE_MAX, SCALE_MIN
from training.losses.joint import RateDistortion

log = logging.getLogger(__name__)
# QPs at which costs are measured, spread over the range.
QPS = tuple(round(share * (QP_COUNT - 1)) for share in (0.2, 0.4, 0.6, 0.8))
# Batches of crops at each of them.
BATCHES = 4
# Keeps the logarithm of a cost finite.
LEAST_COST = 1e-12


def costs(networks: Networks, loss: RateDistortion, x: Tensor, qp: int) -> Tensor:
    """Measure what a squared error of one step costs in each channel of y.

    The diagonal of J^T J from random projections (Hutchinson's estimator), where J is the
    derivative by y_hat of the residuals whose squares the loss is a sum of.

    Args:
        networks: The codec's.
        loss: The loss.
        x: [B, 3, H, W] in 0..1, sides multiples of 64.
        qp: 0..63, for all positions.

    Returns:
        [M], in units of the loss.
    """
    field = torch.full((len(x), x.shape[2] // STRIDE_Y, x.shape[3] // STRIDE_Y), qp)
    with torch.no_grad():
        y_hat = round_half_up(networks.g_a(x, field).float())
    y_hat.requires_grad_()
    (gradient,) = torch.autograd.grad(loss.projection(x, networks.g_s(y_hat, field), field), y_hat)
    return gradient.square().mean((0, 2, 3))


def rescale(networks: Networks, log_factors: Tensor) -> None:
    """Divide each channel's step, and adapt everything that reads or predicts y in steps.

    ::

        g_a -> y times factor -> h_a divides first
                              -> prior: means times, scales plus, contexts divided
                              -> y_hat -> g_s divides

    Args:
        networks: Changed in place; they code the same pictures as before, up to rounding.
        log_factors: [M], the logarithms of the factors.
    """
    factors = log_factors.exp()
    config = networks.config
    index_of_log = (SCALE_COUNT - 1) / math.log(SCALE_MAX / SCALE_MIN) / SCALE_GAIN
    with torch.no_grad():
        networks.g_a.gain.log_gain.add_(log_factors)
        networks.g_s.gain.log_gain.sub_(log_factors)
        # Its input is unshuffled by 2: each channel of y appears four times in a row.
        networks.h_a.down2.weight.div_(factors.repeat_interleave(4).view(1, -1, 1, 1))
        for layer in networks.prior.layers:
            layer_factors = factors[layer.start : layer.stop]
            before = [factors[: config.low]] * 4 if layer.start else []
            for index, step in enumerate(networks.prior.steps_of(layer)):
                if step.context is not None:
                    step.context.weight.div_(
                        torch.cat([*before, *[layer_factors] * index]).view(1, -1, 1, 1)
                    )
                count = len(layer_factors)
                step.head.weight[:count] *= layer_factors.view(-1, 1, 1, 1)
                step.head.bias[:count] *= layer_factors
                step.head.bias[count:] += layer_factors.log() * index_of_log


def equalize_steps(
    networks: Networks, loss: RateDistortion, crops: Callable[[], Tensor], share: float
) -> Tensor:
    """Move step sizes to where an error of one step costs the same in every channel.

    At the optimum of R + D, the slope of D by R is the same everywhere, and so is step^2 times the
    cost of an error.

    Args:
        networks: Changed in place.
        loss: The loss whose optimum is wanted.
        crops: Makes a batch of training pictures (see `costs`), another one at each call.
        share: How far to move towards equal costs, 0..1. 1 reaches them if nothing else changes.

    Returns:
        The factors of y, [M].

    Raises:
        ValueError: For a share outside of 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share must be between 0 and 1, not {share:g}")
    logs = []
    for qp in QPS:
        batches = [costs(networks, loss, crops(), qp) for _ in range(BATCHES)]
        cost = torch.stack(batches).mean(0).clamp(min=LEAST_COST).log()
        # Without the mean, which would move the rate of all channels together.
        logs.append(cost - cost.mean())
    uneven = torch.stack(logs).mean(0)
    log.info(
        "an error's cost differed by a factor of %.2f between channels (one standard deviation)",
        float(uneven.std().exp()),
    )
    # step^2 times cost is to be even, so a step moves by half of the log of its cost.
    log_factors = 0.5 * share * uneven
    rescale(networks, log_factors)
    return log_factors.exp()
