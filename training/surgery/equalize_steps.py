"""Equalize step sizes without training: finer steps where errors cost more, coarser elsewhere."""

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
# Batches of crops per QP.
BATCHES = 4
# Keeps the logarithm of a cost finite.
LEAST_COST = 1e-12


def costs(networks: Networks, loss: RateDistortion, x: Tensor, qp: int) -> Tensor:
    """Measure how much an error of one step in each channel of y adds to the loss.

    This is the diagonal of J^T J, estimated by random projections (Hutchinson's estimator). The
    loss is a sum of squared residuals; J is their derivative by y_hat.

    Args:
        networks: The codec's networks.
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
    """Divide each channel's step by a factor, and adapt everything that reads or predicts y.

    ::

        g_a -> y * factor -> h_a: input / factor
                          -> prior: means * factor, log scales + log factor, contexts / factor
                          -> y_hat -> g_s: input / factor

    Args:
        networks: Changed in place; apart from rounding, they compute the same as before.
        log_factors: [M], the logarithms of the factors.
    """
    factors = log_factors.exp()
    config = networks.config
    index_of_log = (SCALE_COUNT - 1) / math.log(SCALE_MAX / SCALE_MIN) / SCALE_GAIN
    with torch.no_grad():
        networks.g_a.gain.log_gain.add_(log_factors)
        networks.g_s.gain.log_gain.sub_(log_factors)
        # h_a's input is pixel-unshuffled by 2: each channel of y appears four times in a row.
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
    """Change step sizes so that an error of one step costs the same in every channel.

    At the optimum of R + D, dD/dR is the same in every channel, and so is step^2 times the cost of
    a squared error.

    Args:
        networks: Changed in place.
        loss: The loss to find the optimum of.
        crops: Returns another batch of training pictures at each call (see `costs`).
        share: How far to move towards equal costs, 0..1. With 1, costs are equal to first order.

    Returns:
        The factors of y, [M].

    Raises:
        ValueError: `share` is outside of 0..1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"a share must be between 0 and 1, not {share:g}")
    logs = []
    for qp in QPS:
        batches = [costs(networks, loss, crops(), qp) for _ in range(BATCHES)]
        cost = torch.stack(batches).mean(0).clamp(min=LEAST_COST).log()
        # The mean is subtracted, because it would change the rate of all channels together.
        logs.append(cost - cost.mean())
    uneven = torch.stack(logs).mean(0)
    log.info(
        "an error's cost differed by a factor of %.2f between channels (one standard deviation)",
        float(uneven.std().exp()),
    )
    # step^2 * cost is to be constant, so the log of a step changes by half the log of its cost.
    log_factors = 0.5 * share * uneven
    rescale(networks, log_factors)
    return log_factors.exp()
