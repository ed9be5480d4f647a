"""Losses that measure how coding errors change a vision tower's tokens, on several layers.

The tower is frozen: only the decoded picture gets gradients.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codec.errors import BadArgument
from codec.networks.gains import qp_to_t
from codec.towers import LAST, Tower, load_tower

LEVELS = ("embedding", "shallow", "middle", "last")
Distance = tuple[Tensor, dict[str, Tensor]]
# Name -> (weight, residual [B, K]). A term of the loss is the weight times the mean square.
Terms = dict[str, tuple[float, Tensor]]
# Keeps the variance above zero when all tokens are equal.
LEAST_VARIANCE = 1e-6


def distance(terms: Terms) -> Distance:
    """Add up the terms of a loss.

    Args:
        terms: Maps names to (weight, residual).

    Returns:
        The loss per picture [B], and each term's mean square without its weight.
    """
    squares = {name: residual.square().mean(1) for name, (_, residual) in terms.items()}
    total = torch.stack([terms[name][0] * square for name, square in squares.items()]).sum(0)
    return total, {name: square.mean().detach() for name, square in squares.items()}


def level_layer(level: str | int, depth: int) -> int:
    """Find a tower's layer by the name of a level.

    Args:
        level: One of LEVELS, or a block's number, 1..depth. `shallow` and `middle` are blocks 3
            and 8 of 12, or 6 and 16 of 24.
        depth: How many blocks the tower has.

    Returns:
        The layer, as an argument of Tower.tokens.

    Raises:
        BadArgument: There is no such level.
    """
    if str(level).isdigit() and 1 <= int(level) <= depth:
        return int(level)
    layers = {
        "embedding": 0,
        "shallow": max(1, round(depth / 4)),
        "middle": max(1, round(depth * 2 / 3)),
        "last": LAST,
    }
    if level not in layers:
        raise BadArgument(
            f"a level is one of {', '.join(LEVELS)} or a block's number, 1..{depth}, not '{level}'"
        )
    return layers[str(level)]


class FeatureLoss(nn.Module):
    """A distance between a tower's tokens of two pictures.

    ::

        x     -> at the tower's size -> tower -> tokens (no gradient) --+--> distance [B]
        x_hat -> at the tower's size -> tower -> tokens ----------------+
    """

    def __init__(self, tower: str, weights: str | None) -> None:
        super().__init__()
        # In a tuple, the tower is no submodule: it is neither saved nor averaged. Losses with
        # several teachers have several towers.
        self.frozen: tuple[Tower, ...] = (load_tower(tower, weights),)

    @property
    def tower(self) -> Tower:
        return self.frozen[0]

    def forward(self, x: Tensor, x_hat: Tensor, qp: Tensor) -> Distance:
        """Compare two batches of pictures.

        Args:
            x: [B, 3, H, W] in 0..1.
            x_hat: The decoded pictures, of the same shape.
            qp: [B, H/16, W/16] in 0..63.

        Returns:
            The loss per picture [B], and values to log.
        """
        return distance(self.terms(x, x_hat, qp))

    def terms(self, x: Tensor, x_hat: Tensor, qp: Tensor) -> Terms:
        """The weighted residuals whose squares add up to the loss. Arguments as in `forward`."""
        raise NotImplementedError

    def both(self, x: Tensor, x_hat: Tensor, layers: list[int]) -> list[tuple[Tensor, Tensor]]:
        """For each layer: (tokens of x, tokens of x_hat), both [B, N, width]."""
        with torch.no_grad():
            # The original's tokens are constants of the loss; no graph is kept, to save memory.
            original = self.tower.tokens(self.tower.prepare(x), layers)
        decoded = self.tower.tokens(self.tower.prepare(x_hat), layers)
        return [(original[k].float(), decoded[k].float()) for k in layers]


class MultiLevel(FeatureLoss):
    """F = sum_l w_l D_l: D_l is the squared error of level l's tokens over their variance.

    The variance is taken over all tokens of the batch's originals, and summed over channels. It
    makes weights comparable between towers and levels: D_l = 1 is an error as large as the
    differences between tokens.
    """

    def __init__(self, tower: str, weights: str | None, levels: Mapping[str | int, float]) -> None:
        super().__init__(tower, weights)
        self.levels = {level: float(w) for level, w in levels.items() if w}
        self.layers = [level_layer(level, self.tower.depth) for level in self.levels]

    def terms(self, x: Tensor, x_hat: Tensor, qp: Tensor) -> Terms:
        return self.terms_of(self.both(x, x_hat, self.layers))

    def terms_of(self, pairs: list[tuple[Tensor, Tensor]]) -> Terms:
        """Return the terms for tokens that have been computed already.

        Args:
            pairs: (tokens of x, tokens of x_hat) of each of `layers`, both [B, N, width].
        """
        terms = {}
        for (level, weight), (original, decoded) in zip(self.levels.items(), pairs, strict=True):
            variance = (original - original.mean((0, 1))).square().mean().clamp(min=LEAST_VARIANCE)
            terms[f"D_{level}"] = (weight, (decoded - original).flatten(1) / variance.sqrt())
        return terms


class Paper(FeatureLoss):
    """F = 0.1 MSE(patch embeddings) + 1.0 MSE(last tokens), as in arXiv 2509.24258.

    Neither term is normalised.
    """

    def terms(self, x: Tensor, x_hat: Tensor, qp: Tensor) -> Terms:
        embeddings, last = self.both(x, x_hat, [0, LAST])
        patches = slice(self.tower.prefix, None)
        low = (embeddings[1] - embeddings[0])[:, patches].flatten(1)
        high = (last[1] - last[0]).flatten(1)
        return {"D_low": (0.1, low), "D_high": (1.0, high)}


class Code(FeatureLoss):
    """F = 11.52 (0.1 L_low + 1.0 L_high), as the method's public code computes it.

    L_low is the MSE of the first block's patch tokens, each weighted by the mask. L_high is the MSE
    of the pooled, projected feature. The mask is exp(2 t), where t is the log-rate of the QP at a
    patch, divided by its mean over the picture.
    """

    def terms(self, x: Tensor, x_hat: Tensor, qp: Tensor) -> Terms:
        ((original, decoded),) = self.both(x, x_hat, [1])
        mask = F.interpolate(
            torch.exp(2 * qp_to_t(qp.float()))[:, None],
            self.tower.grid,
            mode="bilinear",
            antialias=True,
        )
        mask = (mask / mask.mean((2, 3), keepdim=True)).flatten(1)
        patches = slice(self.tower.prefix, None)
        low = (mask.sqrt()[..., None] * (decoded - original)[:, patches]).flatten(1)
        with torch.no_grad():
            whole = self.tower.pooled(self.tower.prepare(x)).float()
        high = self.tower.pooled(self.tower.prepare(x_hat)).float() - whole
        # 11.52 * 0.1 and 11.52 * 1.0.
        return {"D_low": (1.152, low), "D_high": (11.52, high)}
