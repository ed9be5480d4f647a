"""The whole codec network, as training uses it."""

from __future__ import annotations

from torch import nn

from codec.networks.config import ModelConfig
from codec.networks.preview import Preview
from codec.networks.prior import Prior
from codec.networks.transforms import Analysis, HyperAnalysis, Synthesis


class Networks(nn.Module):
    """g_a, h_a, the integer prior (h_s and its steps), g_s, and the preview's layer.

    ::

        x -> g_a -> y -> h_a -> z (rounded) -> h_s + prior steps -> mean, scale
        y - mean -> symbols -> y_hat -> g_s -> x_hat
                               y_hat's first channels -> preview -> x_hat at 1/8

    Args:
        config: widths and depths. Without a preview's layer (low = 0), `preview` is the identity.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.g_a = Analysis(config)
        self.h_a = HyperAnalysis(config)
        self.prior = Prior(config)
        self.g_s = Synthesis(config)
        self.preview = Preview(config.low) if config.low else nn.Identity()
