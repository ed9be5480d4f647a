"""Where training starts: the transforms as an orthonormal 16x16 block transform.

::

    x - 0.5 -> 8x8 DCT of three orthonormal colour axes     (unshuffle 8, then a 1x1 layer)
            -> 2x2 Hadamard per channel                     (unshuffle 2, then a 1x1 layer)
            -> the outputs with the largest expected variance

The synthesis starts as the transpose. Such a codec already codes pictures; a single-scale network
that starts from random weights stays far behind it (docs/training.md, "Initialization").
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from codec.networks.config import SCALE_COUNT
from codec.networks.model import Networks
from codec.networks.prior import SCALE_GAIN, SCALE_MAX, SCALE_MIN, SCALE_OFFSET

STAGE_SCALE = 4.0  # gain of the first stage's outputs; the analysis' head undoes it
COLOUR_VARIANCE = (1.0, 0.09, 0.06)  # expected variance of the colour axes, relative to the first


def colour_axes() -> Tensor:
    """Return three orthonormal colour axes.

    Returns:
        [3, 3], one axis per row: the sum, red minus blue, green minus magenta.
    """
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]])
    return rows / rows.norm(dim=1, keepdim=True)


def dct_matrix(size: int = 8) -> Tensor:
    """Return the orthonormal DCT-II.

    Args:
        size: samples of the signal.

    Returns:
        [size, size], one frequency per row.
    """
    k = torch.arange(size)[:, None]
    i = torch.arange(size)[None, :]
    matrix = torch.cos(math.pi * (i + 0.5) * k / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def first_stage() -> tuple[Tensor, Tensor]:
    """Return the colour DCT on 8x8 pixels, largest expected variance first.

    The variance of a coefficient falls with the squared frequency, as in natural pictures.

    Returns:
        basis: [192, 192] on unshuffled pixels.
        variance: [192], relative.
    """
    dct = dct_matrix()
    basis = torch.einsum("ac,ui,vj->auvcij", colour_axes(), dct, dct).reshape(192, 192)
    u, v = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    variance = (torch.tensor(COLOUR_VARIANCE)[:, None, None] / (0.3 + u**2 + v**2)).reshape(192)
    order = variance.argsort(descending=True, stable=True)
    return basis[order], variance[order]


def second_stage(variance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the 2x2 Hadamard transform of each channel, largest expected variance first.

    Args:
        variance: [n], expected variance of the first stage's channels.

    Returns:
        basis: [4 n, 4 n] on unshuffled channels.
        expected: [4 n], expected variance of the outputs.
    """
    n = len(variance)
    hadamard = 0.5 * torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    basis = torch.einsum("cd,hp->chdp", torch.eye(n), hadamard).reshape(4 * n, 4 * n)
    fall = torch.tensor([1.0, 0.5, 0.5, 0.25])
    # Assumes that neighbouring blocks are alike in channels of large variance only.
    smooth = (variance / variance.max()).clamp(max=1)[:, None]
    expected = (
        variance[:, None] * (4 * smooth * fall**2 + (1 - smooth) * (0.7 + 0.3 * fall))
    ).reshape(4 * n)
    order = expected.argsort(descending=True, stable=True)
    return basis[order], expected[order]


def means_first(first: Tensor, second: Tensor, m: int) -> Tensor:
    """Sort the second stage's outputs so that those made of 8x8 means come first.

    The preview is made of the first channels of y. Only the first m outputs are considered.

    Args:
        first: [n, 192], the first stage on unshuffled pixels.
        second: [4 n, 4 n], the second stage.
        m: channels of y.

    Returns:
        int64 [4 n], indexes of the outputs in their new order.
    """
    constant = first.reshape(len(first), 3, 64).std(2).amax(1) < 1e-5
    of_means = (second.reshape(len(second), len(first), 4).abs().sum(2) * constant).sum(1) > 0
    place = torch.arange(len(second))
    return (place + len(second) * ~(of_means & (place < m))).argsort()


@torch.no_grad()
def start_as_block_transform(networks: Networks, step: float = 20 / 255) -> None:
    """Set the stems and heads of g_a and g_s, and the prior's scales, to the block transform.

    Args:
        networks: changed in place; its residual blocks already start as the identity.
        step: quantization step of a coefficient at QP 31.5, for pixels in 0..1.
    """
    config = networks.config
    first, variance = first_stage()
    second, expected = second_stage(variance[: config.n])
    if config.low:
        order = means_first(first[: config.n], second, config.m)
        second = second[order]
        expected = expected[order]
    _set_transforms(networks, first, second, 1 / step)
    _set_scales(networks, expected)


def _set_transforms(networks: Networks, first: Tensor, second: Tensor, total: float) -> None:
    """Set the transforms; total: the gain of analysis, from pixels to units of the step."""
    config = networks.config
    g_a = networks.g_a
    g_s = networks.g_s
    n = config.n
    c = config.c
    identity = torch.eye(c)[: config.m]
    for conv in (g_a.stem, g_a.down, g_a.head, g_s.stem, g_s.up, g_s.head):
        torch.nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    g_a.stem.weight.copy_(first[:n, :, None, None] * STAGE_SCALE)
    g_a.down.weight.copy_(second[:c, :, None, None])
    g_a.head.weight.copy_(identity[:, :, None, None] * (total / STAGE_SCALE))
    g_s.stem.weight.copy_(identity.T[:, :, None, None] * (STAGE_SCALE / total))
    g_s.up.weight.copy_(second[:c].T[:, :, None, None])
    g_s.head.weight.copy_(first[:n].T[:, :, None, None] / STAGE_SCALE)


def _set_scales(networks: Networks, expected: Tensor) -> None:
    """Start the prior at the expected deviations; the largest is taken to be 50 steps."""
    m = networks.config.m
    deviation = (expected[:m] / expected.max()).sqrt() * 50
    networks.prior.mean_scale.copy_(
        torch.exp2((deviation / 2).log2().ceil().clamp(0, 6)).view(1, m, 1, 1)
    )
    index = (deviation / SCALE_MIN).log() / math.log(SCALE_MAX / SCALE_MIN) * (SCALE_COUNT - 1)
    for layer in networks.config.layers:
        for prior_step in networks.prior.steps_of(layer):
            prior_step.head.bias[layer.stop - layer.start :] = (
                index[layer.start : layer.stop] - SCALE_OFFSET
            ) / SCALE_GAIN
