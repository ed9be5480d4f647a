"""What looks at a picture while its file is tuned: a tower by random crops, or the feature network.

::

    x     -> views -> network -> features   --+
    x_hat -> the same views -> features_hat --+--> log D, the logarithm of the mean squared error
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from codec.networks.features import CELL, FeatureNetwork
from codec.networks.tensors import has_bfloat16
from codec.towers import LAST, Tower
from codec.towers.tower import squashed

TINY = 1e-12
# Of a tower, chosen on training photos (docs/tuning.md).
VIEWS = 2
ZOOM = 1.34
# Of the feature network.
SHORT_SIDE = 256  # pixels of the whole picture's view
LONGEST = 4 * SHORT_SIDE
TILE = 256  # pixels of the view at native size
LEVEL_WEIGHTS = (0.6, 0.8, 1.0)
TILE_SHARE = 0.25  # of log D, for the view at native size

Distance = Callable[[Tensor], Tensor]  # x_hat [1, 3, H, W] -> log D


class Eye(Protocol):
    """A network that tells how far a decoded picture is from its original."""

    def watch(self, x: Tensor, random: np.random.Generator) -> Distance:
        """Look at an original.

        Args:
            x: [1, 3, H, W] in 0..1.
            random: draws the views.

        Returns:
            From x_hat to log D, differentiably; each call may look at other views.
        """


@dataclass(frozen=True)
class TowerEye:
    """A tower. Each call draws other crops, so that nothing is learned that helps in one alone.

    Attributes:
        tower: any Tower with its last block.
        layer: the layer whose tokens count (Tower.tokens).
    """

    tower: Tower
    layer: int = LAST

    def watch(self, x: Tensor, random: np.random.Generator) -> Distance:
        def distance(x_hat: Tensor) -> Tensor:
            zoom = random.uniform(1, ZOOM)
            places = random.random((VIEWS, 2))
            with torch.no_grad():
                original = self.tokens(self.views(x, zoom, places))
            error = self.tokens(self.views(x_hat, zoom, places)) - original
            return error.square().mean().add(TINY).log().to(x_hat.device)

        return distance

    def tokens(self, views: Tensor) -> Tensor:
        """The tokens of views [n, 3, h, w]."""
        device = self.tower.mean_values.device
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
            return self.tower.tokens(self.tower.normalize(views.to(device)), [self.layer])[
                self.layer
            ].float()

    def views(self, picture: Tensor, zoom: float, places: NDArray[np.float64]) -> Tensor:
        """Cut crops out of a picture.

        Args:
            picture: [1, 3, H, W].
            zoom: 1 for crops of the whole short side; larger for smaller crops.
            places: [n, 2], where each crop lies along both sides, 0..1.

        Returns:
            [n, 3, h, w], at the tower's size.
        """
        size = self.tower.size
        sides = picture.shape[2:]
        scale = zoom * max(target / side for target, side in zip(size, sides))
        resized = squashed(
            picture, (max(size[0], round(sides[0] * scale)), max(size[1], round(sides[1] * scale)))
        )
        corners = [
            [int(at * (side - crop + 1)) for at, side, crop in zip(place, resized.shape[2:], size)]
            for place in places
        ]
        return torch.cat(
            [resized[..., top : top + size[0], left : left + size[1]] for top, left in corners]
        )


@dataclass(frozen=True)
class FeatureEye:
    """The feature network. It sees the whole picture at once, and a tile at native size.

    Attributes:
        network: frozen.
    """

    network: FeatureNetwork

    def watch(self, x: Tensor, random: np.random.Generator) -> Distance:
        height, width = x.shape[2:]
        whole = whole_size(height, width)
        with torch.no_grad():
            original = self.features(_averaged(x, whole))
        near = min(height, width) > 1.4 * min(whole)

        def distance(x_hat: Tensor) -> Tensor:
            far = _log_error(self.features(_averaged(x_hat, whole)), original)
            if not near:
                return far
            top, left = (int(random.integers(max(1, s - TILE + 1))) for s in (height, width))
            tile = (..., slice(top, top + TILE), slice(left, left + TILE))
            with torch.no_grad():
                original_tile = self.features(x[tile])
            close = _log_error(self.features(x_hat[tile]), original_tile)
            return (1 - TILE_SHARE) * far + TILE_SHARE * close

        return distance

    def features(self, pictures: Tensor) -> list[Tensor]:
        """Per level, features [1, C, h, w]."""
        device = pictures.device
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
            return self.network(pictures)[0]


def whole_size(height: int, width: int) -> tuple[int, int]:
    """The size at which the feature network sees a picture, in multiples of a cell."""
    scale = min(1.0, SHORT_SIDE / min(height, width), LONGEST / max(height, width))
    rows, cols = (max(CELL, round(side * scale / CELL) * CELL) for side in (height, width))
    return rows, cols


def _averaged(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize pictures: bilinear, antialiased."""
    if tuple(x.shape[2:]) == size:
        return x
    return F.interpolate(x, size, mode="bilinear", antialias=True, align_corners=False)


def _log_error(features: list[Tensor], original: list[Tensor]) -> Tensor:
    """log of the weighted mean squared error of the levels."""
    errors = [
        weight * (a.float() - b.float()).square().mean()
        for weight, a, b in zip(LEVEL_WEIGHTS, features, original)
    ]
    return torch.stack(errors).sum().add(TINY).log()
