"""Fits the preview's layer by least squares: from y_hat's first channels to 8x8 pixel means."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.coding.pipeline import PREVIEW
from codec.networks.config import QP_COUNT, Z_LIMIT
from codec.networks.integer import round_half_up
from codec.networks.model import Networks
from codec.networks.preview import Preview
from codec.networks.transforms import pad_to_multiple
from training.fit.tables import corners, some_pictures

# Ridge term, relative to the diagonal that it is added to.
RIDGE = 1e-5
# Absolute ridge term, needed where the diagonal is zero.
LEAST = 1e-9
# The QP rises by this much, modulo the range, from picture to picture: all QPs occur equally often.
QP_STRIDE = 23


@torch.no_grad()
def fit_preview(networks: Networks, root: Path, count: int, side: int = 256) -> None:
    """Fit `networks.preview` at QPs over the whole range.

    Args:
        networks: On the CPU; changed in place.
        root: The folder of training pictures.
        count: How many of them to use.
        side: Largest side of the part of a picture that is used, in pixels.
    """
    inputs = 9 * networks.config.low + 1
    outputs = 12
    # In float64, because normal equations square the condition number.
    squares = torch.zeros(inputs, inputs, dtype=torch.float64)
    products = torch.zeros(inputs, outputs, dtype=torch.float64)
    for number, x in enumerate(corners(some_pictures(root, count), side)):
        qp = torch.full((1, 1, 1), number * QP_STRIDE % QP_COUNT)
        neighbourhoods, means = _rows(networks, x, qp)
        squares += neighbourhoods.T @ neighbourhoods
        products += neighbourhoods.T @ means
    squares += torch.diag(RIDGE * squares.diagonal() + LEAST)
    solution = torch.linalg.solve(squares, products).float()
    preview = networks.preview
    assert isinstance(preview, Preview)
    preview.weight.copy_(solution[:-1].T.reshape(preview.weight.shape))
    preview.bias.copy_(solution[-1])


def _rows(networks: Networks, x: Tensor, qp: Tensor) -> tuple[Tensor, Tensor]:
    """The regression's rows of a picture, one for each latent position.

    Returns:
        3x3 neighbourhoods with a constant 1, [positions, 9 low + 1], and means of 8x8 pixels
        [positions, 12].
    """
    y = networks.g_a(x, qp).float()
    z = round_half_up(networks.h_a(pad_to_multiple(y, 4))).clamp(-Z_LIMIT, Z_LIMIT)
    y_hat = networks.prior.code(
        y, z, qp, lambda values, mean, _: round_half_up(values - mean) + mean
    )
    latents = networks.g_s.dequantised(y_hat[:, : networks.config.low], qp)
    # The target is the downscaled full decode, which is the preview of weights without a preview
    # layer.
    means = F.avg_pool2d(networks.g_s(y_hat, qp).clamp(0, 1), PREVIEW)
    neighbourhoods = F.unfold(Preview.padded(latents), 3)[0].T.double()
    ones = torch.ones(len(neighbourhoods), 1, dtype=torch.float64)
    targets = F.pixel_unshuffle(means, 2)[0].flatten(1).T.double()
    return torch.cat([neighbourhoods, ones], 1), targets
