"""Coding in training: the rate is computed with noise, the decoder's input with rounding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from codec.networks.config import QP_COUNT, STRIDE_Y, Z_LIMIT
from codec.networks.integer import round_half_up
from codec.networks.model import Networks
from codec.networks.prior import scale_of
from codec.networks.transforms import pad_to_multiple
from training.losses.likelihoods import FactorizedDensity, GaussianDensity

# Adam's learning rate for fitting the likelihoods of z alone.
FIT_RATE = 2e-2


@dataclass
class TrainingPass:
    """The result of coding a batch.

    Attributes:
        x_hat: The decoded pictures, [B, 3, H, W], about 0..1.
        y_hat: The decoded latents, [B, M, H/16, W/16].
        bits_y: Bits of y per picture, [B].
        bits_z: Bits of z per picture, [B].
    """

    x_hat: Tensor
    y_hat: Tensor
    bits_y: Tensor
    bits_z: Tensor


class RateModel(nn.Module):
    """The likelihoods of z (a density per channel) and of y given the prior, for training only."""

    def __init__(self, channels_z: int) -> None:
        super().__init__()
        self.bottleneck = FactorizedDensity(channels_z, init_scale=4)
        self.gaussian = GaussianDensity()

    def forward(
        self, networks: Networks, x: Tensor, qp: Tensor, rounded: bool = False
    ) -> TrainingPass:
        """Code a batch as the codec would, but differentiably.

        Args:
            networks: The codec's networks.
            x: [B, 3, H, W] in 0..1, sides multiples of 64.
            qp: [B, H/16, W/16], integers in 0..63.
            rounded: See `code_latent`.

        Returns:
            The decoded pictures and latents, and their bits.
        """
        y = networks.g_a(x, qp).float()
        z = networks.h_a(pad_to_multiple(y, 4)).float()
        # The prior's integers need all 24 bits of float32.
        with torch.autocast(x.device.type, enabled=False):
            z_likelihood = self.bottleneck(z)
            y_hat, bits_y = self.code_latent(networks, y, z, qp, rounded)
        bits_z = -z_likelihood.log2().flatten(1).sum(1)
        return TrainingPass(networks.g_s(y_hat, qp), y_hat, bits_y, bits_z)

    def code_latent(
        self, networks: Networks, y: Tensor, z: Tensor, qp: Tensor, rounded: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Code y given z.

        Args:
            networks: The codec's networks; only the prior is used.
            y: [B, M, H/16, W/16] in steps.
            z: [B, Z, H/64, W/64] in steps, not rounded yet.
            qp: [B, H/16, W/16].
            rounded: Count the bits of rounded symbols, which the coder will spend, with
                straight-through gradients, instead of those of noisy symbols. Noise gives better
                gradients early in training, but overestimates the bits of nearly constant symbols.
                The last part of training uses rounded symbols.

        Returns:
            y_hat as the decoder reconstructs it, and the bits of y per picture [B].
        """
        bits = []

        def code_set(values: Tensor, mean: Tensor, index: Tensor) -> Tensor:
            residual = values - mean
            symbols = round_half_up(residual)
            noisy = symbols if rounded else residual + torch.rand_like(residual) - 0.5
            likelihood = self.gaussian(noisy, scale_of(index))
            bits.append(-likelihood.log2().flatten(1).sum(1))
            return symbols + mean

        y_hat = networks.prior.code(y, round_half_up(z).clamp(-Z_LIMIT, Z_LIMIT), qp, code_set)
        return y_hat, torch.stack(bits).sum(0)


def fit_bottleneck(rate_model: RateModel, networks: Networks, x: Tensor, steps: int = 300) -> float:
    """Fit only the likelihoods of z, to the z of crops at mixed QPs.

    Exported weights have frozen tables instead of these likelihoods, so training that starts from
    exported weights has to fit them first.

    Args:
        rate_model: Its likelihoods of z are changed.
        networks: The codec's networks.
        x: [B, 3, H, W] in 0..1, sides multiples of 64.
        steps: Number of steps of Adam.

    Returns:
        The bits of z per pixel after the fit.
    """
    qps = torch.linspace(0, QP_COUNT - 1, len(x)).round().long()
    qp = qps[:, None, None].expand(-1, x.shape[2] // STRIDE_Y, x.shape[3] // STRIDE_Y)
    with torch.no_grad():
        z = networks.h_a(pad_to_multiple(networks.g_a(x, qp).float(), 4)).float()
    optimizer = torch.optim.Adam(rate_model.bottleneck.parameters(), lr=FIT_RATE)
    for _ in range(steps):
        bits = -rate_model.bottleneck(z).log2().sum() / (x.numel() / x.shape[1])
        optimizer.zero_grad()
        bits.backward()
        optimizer.step()
    return float(bits.detach())
