"""The stage that trains a bridge, which maps a codec's latents to a tower's tokens."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from codec.networks.adapter import sample
from codec.networks.gains import qp_to_t
from training.stages.adapter import AdapterStage, Coded


class BridgeStage(AdapterStage):
    """Trains codec.tokens.bridge: as AdapterStage, but the network gets no decoded picture.

    ::

        crops x -> codec (frozen) -> latents at the patches -> TokenAdapter -> tokens of `layer`
            -> the tower's later layers -> MultiLevel distance to the tokens of x
    """

    def __init__(self, layer: int, **settings: Any) -> None:
        """Load the tower.

        Args:
            layer: The layer whose tokens are predicted, at least 1.
            settings: Those of AdapterStage, except `sees`.
        """
        super().__init__(layer=layer, sees=False, **settings)
        # An adapter's output is zero at the start. Zero tokens have no variance, so the gradient of
        # the tower's LayerNorms would be infinite.
        assert isinstance(self.adapter.head, nn.Linear)
        self.adapter.head.reset_parameters()

    @torch.no_grad()
    def coded(self, x: Tensor) -> Coded:
        """Code crops. The decoded pictures are not used."""
        networks, rate_model = self.frozen
        tower = self.features.tower
        qp = self.maps(x)
        coded = rate_model(networks, x, qp, rounded=True)
        samples = sample(networks.g_s.dequantised(coded.y_hat, qp).float(), qp, tower.grid)
        targets = tower.tokens(tower.prepare(x), self.features.layers)
        return Coded(samples, samples.new_zeros(0), targets, qp_to_t(qp.float()).mean((1, 2)))

    def tokens(self, coded: Coded) -> list[tuple[Tensor, Tensor]]:
        """(tokens of x, predicted tokens) for each layer of the loss."""
        layers = self.features.layers
        predicted = self.adapter(coded.samples, coded.tokens)
        tokens = self.features.tower.continued(predicted, layers, after=self.layer)
        return [(coded.targets[k].float(), tokens[k].float()) for k in layers]
