"""The stage that trains an adapter with the losses of arXiv 2509.24258, as published."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.errors import BadArgument
from codec.networks.config import T_LIMIT
from codec.towers import LAST
from training.losses.features import Distance, Terms, distance
from training.stages.adapter import AdapterStage, Coded

# Loss -> levels whose tokens it compares, with their weights; `code` compares pooled features, too.
LEVELS: dict[str, dict[str | int, float]] = {
    "paper": {"embedding": 0.1, "last": 1.0},
    "code": {1: 0.1},
}
# The factor of the whole loss in the method's public code, and its weights of both parts.
CODE_FACTOR = 11.52
LOW = 0.1
HIGH = 1.0
# The place of the pooled feature among a batch's targets, which are otherwise layers.
POOLED = -2


class PublishedAdapterStage(AdapterStage):
    """Trains one adapter of the embedding with L = 0.1 L_low + 1.0 L_high.

    `paper`: L_low is the MSE of the repaired patch embeddings, L_high that of the last tokens.
    `code`, what the public code computes: L_low is the MSE of the first block's patch tokens, each
    weighted by the mask, L_high that of the pooled, projected feature, and the sum counts 11.52
    times. The mask is exp(2 t), t the log-rate of a place, with mean 1 over a picture. Only L_low
    counts for the share `low_only` of the schedule, the first of five published epochs.

    ::

        latents -> TokenAdapter --+
        tower_embedding(x_hat) ---+--> L_low (paper) -> block 1 -> L_low (code)
                                            -> last tokens -> L_high (paper)
                                            -> pooled ------> L_high (code)
    """

    def __init__(self, loss: str, low_only: float, **settings: Any) -> None:
        """Load the tower.

        Args:
            loss: `paper` or `code`.
            low_only: The share of the schedule without L_high, 0..1.
            settings: Of AdapterStage, but for `levels` and `layer`.

        Raises:
            BadArgument: For another loss.
        """
        if loss not in LEVELS:
            raise BadArgument(f"stage.loss is one of {', '.join(LEVELS)}, not '{loss}'")
        super().__init__(levels=LEVELS[loss], layer=0, **settings)
        self.loss = loss
        self.low_only = low_only

    @torch.no_grad()
    def coded(self, x: Tensor) -> Coded:
        """As AdapterStage.coded, with the pooled feature of x where the loss needs it."""
        coded = super().coded(x)
        if self.loss == "code":
            tower = self.features.tower
            coded.targets[POOLED] = tower.pooled(tower.prepare(x)).float()
        return coded

    def distances(self, coded: Coded) -> Distance:
        """The loss of each picture [B], and the values to log."""
        with_high = self.reached >= self.low_only
        if self.loss == "paper":
            return distance(self._paper_terms(coded, with_high))
        return distance(self._code_terms(coded, with_high))

    def _repaired(self, coded: Coded) -> Tensor:
        return coded.tokens + self.adapter(coded.samples, coded.tokens)

    def _paper_terms(self, coded: Coded, with_high: bool) -> Terms:
        tower = self.features.tower
        repaired = self._repaired(coded)
        patches = slice(tower.prefix, None)
        low = (repaired - coded.targets[0])[:, patches].flatten(1)
        terms: Terms = {"D_low": (LOW, low)}
        if with_high:
            last = tower.continued(repaired, [LAST])[LAST]
            terms["D_high"] = (HIGH, (last - coded.targets[LAST]).flatten(1))
        return terms

    def _code_terms(self, coded: Coded, with_high: bool) -> Terms:
        tower = self.features.tower
        repaired = self._repaired(coded)
        first = tower.continued(repaired, [1])[1]
        patches = slice(tower.prefix, None)
        # The last channel of the samples is t / T_LIMIT (networks.adapter.sample).
        mask = F.softmax(2 * T_LIMIT * coded.samples[:, -1].flatten(1), 1)
        mask = mask * mask.shape[1]
        low = (mask.sqrt()[..., None] * (first - coded.targets[1])[:, patches]).flatten(1)
        terms: Terms = {"D_low": (CODE_FACTOR * LOW, low)}
        if with_high:
            pooled = tower.pooled_tokens(repaired)
            terms["D_high"] = (CODE_FACTOR * HIGH, pooled - coded.targets[POOLED])
        return terms
