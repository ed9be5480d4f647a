"""One picture whose latents are decoded differentiably, and the bits of these latents."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.backends.torch import TorchBackend
from codec.coding.backend import QpField
from codec.coding.latent_grid import STRIDE, latent_grid, pad
from codec.networks.gains import qp_to_t
from codec.networks.integer import round_half_up
from codec.networks.model import Networks
from codec.networks.prior import scale_of
from codec.networks.tensors import as_batch
from codec.tuning.views import Box

# a(QP) = 1.24 exp(-0.49 t): percent of rate that one percent of D costs on the curve of uniform
# steps, read off training photos.
EXCHANGE = 1.24
FALL = 0.49
LEAST_LIKELIHOOD = 1e-9
# Latent positions around a window that are decoded, too.
MARGIN = 2


def exchange(qp: float) -> float:
    """The exchange rate a(QP); see EXCHANGE."""
    return EXCHANGE * math.exp(-FALL * float(qp_to_t(torch.tensor(qp, dtype=torch.float32))))


def gaussian_bits(symbols: Tensor, index: Tensor) -> Tensor:
    """Estimate the bits of symbols, differentiably.

    Args:
        symbols: any shape, in quantization steps.
        index: their scale indexes, of the same shape.

    Returns:
        Bits under Gaussians of mean zero, of the same shape; the tables cost nearly as much.
    """
    scale = scale_of(index)
    away = symbols.abs()
    likelihood = torch.special.ndtr((0.5 - away) / scale) - torch.special.ndtr(
        (-0.5 - away) / scale
    )
    return -likelihood.clamp(min=LEAST_LIKELIHOOD).log2()


def coded_latent(
    networks: Networks, skip_below: int, y: Tensor, z: Tensor, qp: Tensor
) -> tuple[Tensor, Tensor]:
    """Round latents as the coder does, straight through, and count their bits.

    Args:
        networks: the networks; only their prior is used.
        skip_below: scale indexes below this are not coded.
        y: [B, M, 4 a, 4 b].
        z: [B, Z, a, b], whole numbers.
        qp: QPs, [B, 4 a, 4 b] or [B, 1, 1].

    Returns:
        y_hat of y's shape, and the bits of y of each picture [B].
    """
    bits = []

    def code_set(values: Tensor, mean: Tensor, index: Tensor) -> Tensor:
        symbols = round_half_up(values - mean) * (index.detach() >= skip_below)
        bits.append(gaussian_bits(symbols, index.float()).flatten(1).sum(1))
        return symbols + mean

    y_hat = networks.prior.code(y, z, qp, code_set)
    return y_hat, torch.stack(bits).sum(0)


def positions(first: int, pixels: int, count: int) -> tuple[int, int]:
    """The latent positions of `pixels` pixels from `first` on and MARGIN more, of 0..count."""
    last = -(-(first + pixels) // STRIDE)
    return max(0, first // STRIDE - MARGIN), min(count, last + MARGIN)


class CodedPicture:
    """One picture and its QP field, whose latents are decoded differentiably.

    Tensors are on the backend's device. If the device has bfloat16, the prior runs in it as well:
    its predictions differ slightly from the coder's, which costs nothing (docs/tuning.md).
    """

    def __init__(self, backend: TorchBackend, pixels: NDArray[np.uint8], qp: QpField) -> None:
        self.backend = backend
        self.height, self.width = pixels.shape[:2]
        self.x = as_batch(torch.from_numpy(np.array(pixels)).to(backend.device)).float() / 255
        self.qp = qp
        self.exchange = exchange(float(np.mean(qp)))

    @property
    def whole(self) -> Box:
        """All of the picture."""
        return Box(0, 0, self.height, self.width)

    def decoded(self, y: Tensor, z: Tensor, window: Box) -> tuple[Tensor, Tensor]:
        """Decode latents.

        A part of the picture is decoded from its latents and MARGIN more, so near its border it
        differs slightly from the decoder's result.

        Args:
            y: [1, M, 4 a, 4 b].
            z: [1, Z, a, b], whole numbers.
            window: what of the picture is wanted; it begins at a latent position.

        Returns:
            x_hat [1, 3, rows, columns] of the window in 0..1, and the bits of all of y.
        """
        backend = self.backend
        rows, cols = latent_grid(self.height, self.width)
        top, bottom = positions(window.top, window.height, rows)
        left, right = positions(window.left, window.width, cols)
        wanted = replace(window, top=window.top - top * STRIDE, left=window.left - left * STRIDE)
        field = self._field(rows, cols)
        if field.shape[1:] != (1, 1):
            field = field[:, top:bottom, left:right]
        with torch.autocast(backend.device.type, torch.bfloat16, enabled=backend.bfloat16):
            y_hat, bits = coded_latent(
                backend.networks, backend.checkpoint.skip_below, y, z, self._field(*y.shape[2:])
            )
            x_hat = backend.networks.g_s(y_hat[..., top:bottom, left:right], field)
        return wanted.of(x_hat.float()).clamp(0, 1), bits.sum()

    def _field(self, rows: int, cols: int) -> Tensor:
        """The QPs on a grid at least as large as the picture's, with the edge repeated."""
        field = self.qp if isinstance(self.qp, int) else pad(self.qp, rows, cols, "edge")
        return torch.as_tensor(field, device=self.backend.device).expand(1, rows, cols)
