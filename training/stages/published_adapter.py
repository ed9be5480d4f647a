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

# Loss -> the levels whose tokens it compares, with weights. `code` also compares pooled features.
LEVELS: dict[str, dict[str | int, float]] = {
    "paper": {"embedding": 0.1, "last": 1.0},
    "code": {1: 0.1},
}
# The factor of the whole loss in the method's public code, and the weights of its two parts.
CODE_FACTOR = 11.52
LOW = 0.1
HIGH = 1.0
# The key of the pooled feature in a batch's targets; the other keys are layers.
POOLED = -2


class PublishedAdapterStage(AdapterStage):
    """Trains one adapter of the embedding with L = 0.1 L_low + 1.0 L_high.

    `paper`: L_low is the MSE of the repaired patch embeddings, L_high that of the last tokens.
    `code`, the loss of the public code: L_low is the MSE of the first block's patch tokens, each
    weighted by the mask, L_high is the MSE of the pooled, projected feature, and the sum is
    multiplied by 11.52. The mask is exp(2 t), where t is the log-rate at a patch, divided by its
    mean over the picture. The first part of the schedule, the share `low_only`, uses L_low alone;
    it is the first of five epochs in the publication.

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
            low_only: The first share of the schedule, which has no L_high, 0..1.
            settings: Those of AdapterStage, except `levels` and `layer`.

        Raises:
            BadArgument: `loss` is neither of these.
        """
        if loss not in LEVELS:
            raise BadArgument(f"stage.loss is one of {', '.join(LEVELS)}, not '{loss}'")
        super().__init__(levels=LEVELS[loss], layer=0, **settings)
        self.loss = loss
        self.low_only = low_only

    @torch.no_grad()
    def coded(self, x: Tensor) -> Coded:
        """As AdapterStage.coded, plus the pooled feature of x if the loss needs it."""
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
