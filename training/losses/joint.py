"""The losses of the codec. lambda(QP) makes one set of weights serve all rates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.config import STRIDE_Y
from codec.networks.gains import qp_to_t
from training.losses.features import FeatureLoss
from training.losses.rate import TrainingPass

# Square of the largest pixel value.
PEAK_SQUARED = 255.0**2


class RateDistortion(nn.Module):
    """L = w(t) (R + lambda(QP) D), with lambda = base exp(slope t) and w = exp(-balance t).

    R is in bits per pixel, D is the squared error of pixels in 0..255, and t is the log-rate
    coordinate of the QP (gains.qp_to_t). With a QP map, each 16x16 block has its own lambda. R and
    lambda D grow with t, so high rates would dominate a sum, while savings are measured in percent.
    The weight w compensates for this.
    """

    def __init__(self, base: float = 0.0063, slope: float = 1.92, balance: float = 0.6) -> None:
        super().__init__()
        self.base = base
        self.slope = slope
        self.balance = balance

    def forward(
        self, x: Tensor, qp: Tensor, coded: TrainingPass
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch.

        Args:
            x: [B, 3, H, W] in 0..1.
            qp: [B, H/16, W/16] in 0..63.
            coded: The decoded pictures and their bits.

        Returns:
            The mean loss, and the values to log.
        """
        t, bpp, distortion, parts = self.terms(x, qp, coded)
        return (torch.exp(-self.balance * t) * (bpp + distortion)).mean(), parts

    def terms(
        self, x: Tensor, qp: Tensor, coded: TrainingPass
    ) -> tuple[Tensor, Tensor, Tensor, dict[str, Tensor]]:
        """Return mean t, R and lambda D, each per picture [B], and the values to log."""
        t = qp_to_t(qp.float())
        squared = (coded.x_hat.float() - x).square().mean(1, keepdim=True) * PEAK_SQUARED
        blocks = F.avg_pool2d(squared, STRIDE_Y)[:, 0]
        pixels = x.shape[-1] * x.shape[-2]
        bpp = (coded.bits_y + coded.bits_z) / pixels
        distortion = (self.base * torch.exp(self.slope * t) * blocks).mean((1, 2))
        psnr = 10 * torch.log10(PEAK_SQUARED / blocks.mean((1, 2)).clamp(min=1e-3))
        parts = {
            "bpp": bpp.mean(),
            "bpp_z": coded.bits_z.mean() / pixels,
            "psnr": psnr.mean(),
            "distortion": distortion.mean(),
        }
        logged = {name: value.detach() for name, value in parts.items()}
        return t.mean((1, 2)), bpp, distortion, logged

    def projection(self, x: Tensor, x_hat: Tensor, qp: Tensor) -> Tensor:
        """Project the residuals, whose squares add up to the distortion, on a random direction.

        training/surgery/equalize_steps.py estimates the cost of an error from its gradient.

        Args:
            x: [B, 3, H, W] in 0..1.
            x_hat: The decoded pictures, of the same shape.
            qp: [B, H/16, W/16] in 0..63.

        Returns:
            One number, differentiable with respect to x_hat.
        """
        weight = self.base * torch.exp(self.slope * qp_to_t(qp.float())).mean((1, 2))
        return _along(255 * (x_hat.float() - x), weight)


def _along(residual: Tensor, weight: Tensor | float) -> Tensor:
    """sum_b sqrt(weight_b / K) <residual_b, white noise>, for a weighted mean square.

    residual: [B, ...], K numbers a picture; weight: [B], or one for all.
    """
    # For white noise n, E[<r, n>^2] = |r|^2, so the mean square of this is the weighted mean
    # square.
    flat = residual.flatten(1)
    return ((flat * torch.randn_like(flat)).sum(1) * (weight / flat.shape[1]) ** 0.5).sum()


class Joint(RateDistortion):
    """L = w(t) (R + pixel_share lambda(QP) D + mu exp(mu_slope t) F).

    F is the error of a vision tower's tokens: a loss of training.losses.features, one number per
    picture, without a unit. mu grows with the rate more slowly than lambda (docs/training.md).
    """

    def __init__(
        self,
        features: FeatureLoss,
        base: float = 0.0063,
        slope: float = 1.92,
        balance: float = 0.6,
        pixel_share: float = 0.25,
        mu: float = 1.0,
        mu_slope: float = 1.45,
    ) -> None:
        super().__init__(base, slope, balance)
        self.features = features
        self.pixel_share = pixel_share
        self.mu = mu
        self.mu_slope = mu_slope

    def forward(
        self, x: Tensor, qp: Tensor, coded: TrainingPass
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss; arguments and result as for RateDistortion."""
        t, bpp, distortion, parts = self.terms(x, qp, coded)
        features, levels = self.features(x, coded.x_hat.float(), qp)
        mu = self.mu * torch.exp(self.mu_slope * t)
        loss = bpp + self.pixel_share * distortion + mu * features
        logged = parts | {"features": features.mean().detach()} | levels
        return (torch.exp(-self.balance * t) * loss).mean(), logged

    def projection(self, x: Tensor, x_hat: Tensor, qp: Tensor) -> Tensor:
        """As RateDistortion.projection, but including the tower's residuals."""
        mu = self.mu * torch.exp(self.mu_slope * qp_to_t(qp.float())).mean((1, 2))
        # A projection scales with the square root of its weight. Each term has independent noise,
        # so that the mean square of the sum is the sum of the mean squares.
        pixels = self.pixel_share**0.5 * super().projection(x, x_hat, qp)
        terms = self.features.terms(x, x_hat.float(), qp).values()
        return pixels + sum(_along(residual, weight * mu) for weight, residual in terms)
