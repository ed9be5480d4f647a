"""The training-time path: noise for the rate, rounding for everything that the decoder will see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from compressai.entropy_models import EntropyBottleneck, GaussianConditional
from torch import Tensor, nn

from codec.networks.config import QP_COUNT, Z_LIMIT
from codec.networks.integer import round_half_up
from codec.networks.model import Networks
from codec.networks.prior import scale_of
from codec.networks.transforms import pad_to_multiple


@dataclass
class TrainingPass:
    """x_hat [B, 3, H, W]; bits_y, bits_z: bits per picture [B]."""

    x_hat: Tensor
    y_hat: Tensor
    bits_y: Tensor
    bits_z: Tensor


class RateModel(nn.Module):
    """Likelihoods of z (factorised, per channel) and of y given the prior; compressai's models, used in training only."""

    def __init__(self, channels_z: int) -> None:
        super().__init__()
        self.bottleneck = EntropyBottleneck(channels_z, init_scale=4)
        self.bottleneck.quantiles.requires_grad_(
            False
        )  # tables are fitted (training.tables), not taken from quantiles
        self.gaussian = GaussianConditional(None)

    def forward(
        self, networks: Networks, x: Tensor, qp: Tensor, rounded: bool = False
    ) -> TrainingPass:
        """x: [B, 3, H, W] in 0..1, sides multiples of 64; qp: [B, H/16, W/16] integers; rounded: see `code_latent`."""
        y = networks.g_a(x, qp).float()
        z = networks.h_a(pad_to_multiple(y, 4)).float()
        with torch.autocast(x.device.type, enabled=False):
            _, z_likelihood = self.bottleneck(z, training=True)
            y_hat, bits_y = self.code_latent(networks, y, z, qp, rounded)
        bits_z = -z_likelihood.log2().flatten(1).sum(1)
        return TrainingPass(networks.g_s(y_hat, qp), y_hat, bits_y, bits_z)

    def code_latent(
        self, networks: Networks, y: Tensor, z: Tensor, qp: Tensor, rounded: bool = False
    ) -> tuple[Tensor, Tensor]:
        """y_hat as the decoder will have it, and the bits of y per picture [B].

        rounded: bits of the rounded symbols (straight-through), as the coder will spend them, instead of noisy ones. Noise gives
        better gradients early; it overstates the bits of nearly constant symbols, so training ends with the real thing.
        """
        bits = []

        def code_set(values: Tensor, mean: Tensor, index: Tensor) -> Tensor:
            residual = values - mean
            symbols = round_half_up(residual)
            noisy = symbols if rounded else residual + torch.rand_like(residual) - 0.5
            likelihood = self.gaussian.likelihood_lower_bound(
                self.gaussian._likelihood(noisy, scale_of(index))
            )
            bits.append(-likelihood.log2().flatten(1).sum(1))
            return symbols + mean

        y_hat = networks.prior.code(y, round_half_up(z).clamp(-Z_LIMIT, Z_LIMIT), qp, code_set)
        return y_hat, torch.stack(bits).sum(0)


def fit_bottleneck(rate_model: RateModel, networks: Networks, x: Tensor, steps: int = 300) -> float:
    """Fit the likelihoods of z alone to what the networks make of crops x [B, 3, H, W] at mixed QPs; returns bits per pixel.

    Exported weights hold frozen tables instead of these likelihoods: training that starts there needs them first.
    """
    qp = (
        torch.linspace(0, QP_COUNT - 1, len(x))
        .round()
        .long()[:, None, None]
        .expand(-1, x.shape[2] // 16, x.shape[3] // 16)
    )
    with torch.no_grad():
        z = networks.h_a(pad_to_multiple(networks.g_a(x, qp).float(), 4)).float()
    parameters = [p for name, p in rate_model.bottleneck.named_parameters() if name != "quantiles"]
    optimizer = torch.optim.Adam(parameters, lr=2e-2)
    for _ in range(steps):
        bits = -rate_model.bottleneck(z, training=True)[1].log2().sum() / (x.numel() / x.shape[1])
        optimizer.zero_grad()
        bits.backward()
        optimizer.step()
    return float(bits.detach())
