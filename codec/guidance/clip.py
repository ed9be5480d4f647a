"""Importance from a vision tower's shallow attention: the method's own guide (arXiv 2509.24258)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from codec.guidance.importance import Importance, Pixels, Rule
from codec.networks.tensors import as_batch
from codec.towers import Tower, load_tower

DEFAULT_TOWER = "ViT-L-14-336"
DEFAULT_WEIGHTS = "openai"
LAYERS = 3
TILES_FROM = 1.5
MOST_TILES = 6


class ClipGuide:
    """[CLS] -> patch attention, mean over the first `layers` blocks and all heads, on the tower's grid over the whole picture.

    A picture whose sides are 1.5 times the tower's or more is also looked at in tiles of about the tower's size: each tile's map,
    relative to its own mean, is added to the global one at its place (hierarchical guidance).

    ::

        pixels -+-> whole picture, squashed -> tower -> map -> stretched --+--> sum
                \\-> tiles -> tower -> maps, side by side ------------------+
    """

    def __init__(
        self, tower: Tower, layers: int = LAYERS, preset: str = "default", tiles: bool = True
    ) -> None:
        self.tower = tower
        self.layers = layers
        self.preset = preset
        self.tiles = tiles

    @torch.inference_mode()
    def __call__(self, pixels: Pixels) -> Importance | None:
        x = as_batch(torch.from_numpy(np.array(pixels)))
        whole = self._map(x)
        across = [
            min(MOST_TILES, round(side / own))
            for side, own in zip(pixels.shape[:2], self.tower.size)
        ]
        if (
            self.tiles
            and min(pixels.shape[:2]) >= TILES_FROM * min(self.tower.size)
            and max(across) > 1
        ):
            local = self._tiled(x, max(across[0], 1), max(across[1], 1))
            whole = F.interpolate(whole[None, None], local.shape, mode="bilinear")[0, 0] + local
        rule: Rule = "paper" if self.preset == "paper" else "zscore"
        return Importance(whole.cpu().numpy(), rule)

    def _map(self, x: Tensor) -> Tensor:
        """uint8 [1, 3, H, W] -> attention [rows, cols] relative to its mean."""
        device = next(self.tower.parameters()).device
        attention = self.tower.attention(
            self.tower.prepare(x.to(device).float() / 255), self.layers
        )[0].mean(0)
        return attention / attention.mean().clamp(min=1e-12)

    def _tiled(self, x: Tensor, down: int, across: int) -> Tensor:
        """Maps of down x across tiles, put together: [down * rows, across * cols]."""
        edges = [
            np.linspace(0, side, count + 1).round().astype(int)
            for side, count in zip(x.shape[2:], (down, across))
        ]
        rows = [
            torch.cat(
                [
                    self._map(x[:, :, top:bottom, left:right])
                    for left, right in zip(edges[1], edges[1][1:])
                ],
                1,
            )
            for top, bottom in zip(edges[0], edges[0][1:])
        ]
        return torch.cat(rows)


@lru_cache(maxsize=2)
def load_clip(
    name: str | None = None,
    weights: str | None = None,
    layers: int = LAYERS,
    preset: str = "default",
) -> ClipGuide:
    """A guide over any tower of `codec.towers.load_tower`; only its first blocks are kept. Raises CodecError."""
    if name is None:
        name = DEFAULT_TOWER
        weights = weights or DEFAULT_WEIGHTS
    return ClipGuide(load_tower(name, weights, layers), layers, preset)
