"""Losses. lambda(QP) turns one set of weights into all rates."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.networks.gains import qp_to_t
from training.rate import TrainingPass


class RateDistortion(nn.Module):
    """L = w(t) (R + lambda(QP) D): R in bits per pixel, D the squared error in 0..255, lambda = base exp(slope t).

    t is the log-rate coordinate of the QP (gains.qp_to_t). With a QP map, each 16x16 block has its own lambda. The weight
    w = exp(-balance t) evens out the rates, since R and lambda D both grow with t while savings are counted in percent.
    """

    def __init__(self, base: float = 0.0063, slope: float = 1.92, balance: float = 0.6) -> None:
        super().__init__()
        self.base, self.slope, self.balance = base, slope, balance

    def forward(self, x: Tensor, qp: Tensor, coded: TrainingPass) -> tuple[Tensor, dict[str, Tensor]]:
        """x: [B, 3, H, W] in 0..1; qp: [B, H/16, W/16]. Returns the mean loss and what to log."""
        t = qp_to_t(qp.float())
        squared = (coded.x_hat.float() - x).square().mean(1, keepdim=True) * 255.0**2
        blocks = F.avg_pool2d(squared, 16)[:, 0]
        pixels = x.shape[-1] * x.shape[-2]
        bpp = (coded.bits_y + coded.bits_z) / pixels
        distortion = (self.base * torch.exp(self.slope * t) * blocks).mean((1, 2))
        weight = torch.exp(-self.balance * t.mean((1, 2)))
        loss = (weight * (bpp + distortion)).mean()
        psnr = 10 * torch.log10(255.0**2 / blocks.mean((1, 2)).clamp(min=1e-3))
        parts = {"bpp": bpp.mean(), "bpp_z": coded.bits_z.mean() / pixels, "psnr": psnr.mean(), "distortion": distortion.mean()}
        return loss, {name: value.detach() for name, value in parts.items()}
