"""Where training starts: the transforms as an orthonormal 16x16 block transform, which already codes pictures.

x - 0.5 -> 8x8 DCT of three orthonormal colour axes (1x1 layer after unshuffle 8) -> 2x2 Hadamard per channel (1x1 layer after
unshuffle 2), keeping the outputs with the largest expected variance. The synthesis starts as the transpose. A single-scale
network learns from there; from a random start it stays far behind (docs/training.md).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from codec.networks.model import Networks
from codec.networks.prior import SCALE_COUNT, SCALE_GAIN, SCALE_MAX, SCALE_MIN, SCALE_OFFSET

STAGE_SCALE = 4.0
COLOUR_VARIANCE = (1.0, 0.09, 0.06)


def colour_axes() -> Tensor:
    """[3, 3] orthonormal rows: sum, red-blue, green-magenta."""
    rows = torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [-1.0, 2.0, -1.0]])
    return rows / rows.norm(dim=1, keepdim=True)


def dct_matrix(size: int = 8) -> Tensor:
    """[size, size] orthonormal DCT-II, rows are frequencies."""
    k = torch.arange(size)[:, None]
    i = torch.arange(size)[None, :]
    matrix = torch.cos(math.pi * (i + 0.5) * k / size) * math.sqrt(2 / size)
    matrix[0] /= math.sqrt(2)
    return matrix


def first_stage() -> tuple[Tensor, Tensor]:
    """(basis [192, 192] on unshuffled pixels, expected variance [192]) of the colour DCT, largest variance first."""
    dct = dct_matrix()
    basis = torch.einsum("ac,ui,vj->auvcij", colour_axes(), dct, dct).reshape(192, 192)
    u, v = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    variance = (torch.tensor(COLOUR_VARIANCE)[:, None, None] / (0.3 + u**2 + v**2)).reshape(192)
    order = variance.argsort(descending=True, stable=True)
    return basis[order], variance[order]


def second_stage(variance: Tensor) -> tuple[Tensor, Tensor]:
    """(basis [4 n, 4 n] on unshuffled channels, expected variance [4 n]) of the 2x2 Hadamard, largest variance first."""
    n = len(variance)
    hadamard = 0.5 * torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])
    basis = torch.einsum("cd,hp->chdp", torch.eye(n), hadamard).reshape(4 * n, 4 * n)
    fall = torch.tensor([1.0, 0.5, 0.5, 0.25])
    smooth = (variance / variance.max()).clamp(max=1)[:, None]
    expected = (
        variance[:, None] * (4 * smooth * fall**2 + (1 - smooth) * (0.7 + 0.3 * fall))
    ).reshape(4 * n)
    order = expected.argsort(descending=True, stable=True)
    return basis[order], expected[order]


def means_first(first: Tensor, second: Tensor, m: int) -> Tensor:
    """The order of the second stage's outputs [4 n] with those, of the first m, that are made of the 8x8 means in front.

    first: [n, 192] on unshuffled pixels; second: [4 n, 4 n]. The preview is made of the first channels of y.
    """
    constant = first.reshape(len(first), 3, 64).std(2).amax(1) < 1e-5
    of_means = (second.reshape(len(second), len(first), 4).abs().sum(2) * constant).sum(1) > 0
    place = torch.arange(len(second))
    return (place + len(second) * ~(of_means & (place < m))).argsort()


@torch.no_grad()
def start_as_block_transform(networks: Networks, step: float = 20 / 255) -> None:
    """Set stems and heads of g_a and g_s to the block transform; `step` is the quantization step of a coefficient at QP 31.5."""
    config = networks.config
    g_a = networks.g_a
    g_s = networks.g_s
    n = config.n
    c = config.c
    m = config.m
    first, variance = first_stage()
    second, expected = second_stage(variance[:n])
    if config.low:
        order = means_first(first[:n], second, m)
        second = second[order]
        expected = expected[order]
    total = 1 / step
    identity = torch.eye(c)[:m]
    for conv in (g_a.stem, g_a.down, g_a.head, g_s.stem, g_s.up, g_s.head):
        torch.nn.init.zeros_(conv.bias)  # type: ignore[arg-type]
    g_a.stem.weight.copy_(first[:n, :, None, None] * STAGE_SCALE)
    g_a.down.weight.copy_(second[:c, :, None, None])
    g_a.head.weight.copy_(identity[:, :, None, None] * (total / STAGE_SCALE))
    g_s.stem.weight.copy_(identity.T[:, :, None, None] * (STAGE_SCALE / total))
    g_s.up.weight.copy_(second[:c].T[:, :, None, None])
    g_s.head.weight.copy_(first[:n].T[:, :, None, None] / STAGE_SCALE)
    deviation = (expected[:m] / expected.max()).sqrt() * 50
    networks.prior.mean_scale.copy_(
        torch.exp2((deviation / 2).log2().ceil().clamp(0, 6)).view(1, m, 1, 1)
    )
    index = (deviation / SCALE_MIN).log() / math.log(SCALE_MAX / SCALE_MIN) * (SCALE_COUNT - 1)
    for layer in config.layers:
        for prior_step in networks.prior.steps_of(layer):
            prior_step.head.bias[layer.stop - layer.start :] = (
                index[layer.start : layer.stop] - SCALE_OFFSET
            ) / SCALE_GAIN
