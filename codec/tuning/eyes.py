"""What looks at a picture while its file is tuned: a tower, or the shipped feature network.

::

    x     -> crops -> network -> tokens   --+
    x_hat -> the same crops -> tokens_hat --+--> log D, the logarithm of the mean squared error
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.networks.tensors import has_bfloat16
from codec.towers import LAST, Tower
from codec.towers.tower import squashed
from codec.tuning.features import FeatureNetwork

TINY = 1e-12
# Chosen on training photos (docs/tuning.md).
VIEWS = 2
ZOOM = 1.34

# x_hat [1, 3, H, W] and the number of the look -> log D. Equal numbers look at equal views.
Distance = Callable[[Tensor, int], Tensor]


class Eye(Protocol):
    """A network that tells how far a decoded picture is from its original."""

    @property
    def size(self) -> tuple[int, int]:
        """(rows, columns) of its input in pixels."""

    def tokens(self, views: Tensor) -> Tensor:
        """The tokens of views [n, 3, rows, columns] in 0..1, differentiable, in float32."""


@dataclass(frozen=True)
class TowerEye:
    """A tower.

    Attributes:
        tower: any Tower with its last block.
        layer: the layer whose tokens count (Tower.tokens).
    """

    tower: Tower
    layer: int = LAST

    @property
    def size(self) -> tuple[int, int]:
        return self.tower.size

    def tokens(self, views: Tensor) -> Tensor:
        device = self.tower.mean_values.device
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
            return self.tower.tokens(self.tower.normalize(views.to(device)), [self.layer])[
                self.layer
            ].float()


@dataclass(frozen=True)
class FeatureEye:
    """The feature network; its last tokens count.

    Attributes:
        network: frozen.
    """

    network: FeatureNetwork

    @property
    def size(self) -> tuple[int, int]:
        return self.network.config.size

    def tokens(self, views: Tensor) -> Tensor:
        device = self.network.cls.device
        with torch.autocast(device.type, torch.bfloat16, enabled=has_bfloat16(device)):
            return self.network(views.to(device))[-1].float()


def watch(eye: Eye, x: Tensor) -> Distance:
    """Look at an original.

    Each look takes other crops, of all of the picture's short side down to three quarters of it,
    so that nothing is learned that helps in one crop alone.

    Args:
        eye: what looks.
        x: [1, 3, H, W] in 0..1.

    Returns:
        From x_hat and the number of the look to log D, differentiably.
    """

    def distance(x_hat: Tensor, look: int) -> Tensor:
        random = np.random.default_rng(look)
        zoom = random.uniform(1, ZOOM)
        places = random.random((VIEWS, 2))
        with torch.no_grad():
            original = eye.tokens(crops(x, eye.size, zoom, places))
        error = eye.tokens(crops(x_hat, eye.size, zoom, places)) - original
        return error.square().mean().add(TINY).log().to(x_hat.device)

    return distance


def crops(
    picture: Tensor, size: tuple[int, int], zoom: float, places: NDArray[np.float64]
) -> Tensor:
    """Cut crops out of a picture.

    Args:
        picture: [1, 3, H, W].
        size: (rows, columns) of a crop.
        zoom: 1 for crops of the whole short side; larger for smaller crops.
        places: [n, 2], where each crop lies along both sides, 0..1.

    Returns:
        [n, 3, rows, columns].
    """
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
