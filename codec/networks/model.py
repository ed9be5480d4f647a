"""The whole codec network, as training sees it."""

from __future__ import annotations

from torch import nn

from codec.networks.config import ModelConfig
from codec.networks.prior import Prior
from codec.networks.transforms import Analysis, HyperAnalysis, Synthesis


class Networks(nn.Module):
    """g_a, h_a, the integer prior (h_s and its steps) and g_s.

    ::

        x -> g_a -> y -> h_a -> z (rounded) -> h_s + prior steps -> mean, scale -> symbols -> y_hat -> g_s -> x_hat
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.g_a = Analysis(config)
        self.h_a = HyperAnalysis(config)
        self.prior = Prior(config)
        self.g_s = Synthesis(config)
