"""The networks ("eyes") that a file can be tuned to: a tower, or the shipped feature network.

::

    x     -> boxes, resized -> network -> tokens --+
    x_hat -> the same boxes -> tokens_hat ---------+--> log D of the mean squared error D
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from codec.networks.tensors import has_bfloat16
from codec.towers import LAST, Tower
from codec.towers.tower import squashed
from codec.tuning.features import FeatureNetwork
from codec.tuning.views import Box

TINY = 1e-12

# A decoded part of the picture [1, 3, h, w], its place, and the boxes that are compared -> log D.
Distance = Callable[[Tensor, Box, Sequence[Box]], Tensor]


class Eye(Protocol):
    """A network whose tokens measure how far a decoded picture is from its original."""

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
    """Make the distance to an original.

    Args:
        eye: the network whose tokens are compared.
        x: [1, 3, H, W] in 0..1.

    Returns:
        A differentiable function from a decoded part of the picture, its place, and the boxes that
        are compared, to log D.
    """

    def distance(x_hat: Tensor, window: Box, seen: Sequence[Box]) -> Tensor:
        with torch.no_grad():
            original = eye.tokens(views(x, seen, eye.size))
        error = eye.tokens(views(x_hat, [b.within(window) for b in seen], eye.size)) - original
        return error.square().mean().add(TINY).log().to(x_hat.device)

    return distance


def views(picture: Tensor, seen: Sequence[Box], size: tuple[int, int]) -> Tensor:
    """Cut boxes out of a picture [1, 3, H, W] and resize them: [n, 3, rows, columns]."""
    return torch.cat([squashed(box.of(picture), size) for box in seen])
