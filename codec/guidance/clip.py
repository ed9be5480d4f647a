"""Importance from a vision tower's shallow attention: the guide of arXiv 2509.24258."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from codec.guidance.importance import Importance, Pixels, Rule
from codec.networks.tensors import as_batch
from codec.towers import Tower, load_tower

DEFAULT_TOWER = "ViT-L-14-336"
DEFAULT_WEIGHTS = "openai"
LAYERS = 3  # the blocks whose attention is averaged, as in arXiv 2509.24258
TILES_FROM = 1.5  # times the tower's size: larger pictures are also looked at in tiles
MOST_TILES = 6  # along a side


class ClipGuide:
    r"""[CLS] -> patch attention, averaged over the first blocks and all heads.

    A picture that is clearly larger than the tower's input is also looked at in tiles of about the
    tower's size. Each tile's map, relative to its mean, is added to the map of the whole picture at
    the tile's place (hierarchical guidance).

    ::

        pixels -+-> whole picture, at the tower's size -> tower -> map -> stretched --+--> sum
                \-> tiles -> tower -> maps, side by side -----------------------------+

    Args:
        tower: the vision tower.
        layers: how many blocks to average over.
        preset: default, paper or attention (guidance.PRESETS).
        tiles: whether to look at large pictures in tiles, too.
        slope: of files with this guide where none is given; None for that of the weights.
    """

    def __init__(
        self,
        tower: Tower,
        layers: int = LAYERS,
        preset: str = "default",
        tiles: bool = True,
        slope: float | None = None,
    ) -> None:
        self.tower = tower
        self.layers = layers
        self.preset = preset
        self.tiles = tiles
        self.slope = slope

    @torch.inference_mode()
    def __call__(self, pixels: Pixels) -> Importance | None:
        """Look at a picture [H, W, 3]; see importance.Guide."""
        x = as_batch(torch.from_numpy(np.array(pixels)))
        attention = self._map(x)
        down, across = (
            min(MOST_TILES, round(side / tower_side))
            for side, tower_side in zip(pixels.shape[:2], self.tower.size)
        )
        is_large = min(pixels.shape[:2]) >= TILES_FROM * min(self.tower.size)
        if self.tiles and is_large and max(down, across) > 1:
            local = self._tiled(x, max(down, 1), max(across, 1))
            whole = F.interpolate(attention[None, None], local.shape, mode="bilinear")[0, 0]
            attention = whole + local
        rule: Rule = "paper" if self.preset == "paper" else "zscore"
        return Importance(attention.cpu().numpy(), rule)

    def _map(self, x: Tensor) -> Tensor:
        """Map uint8 [1, 3, H, W] to attention [rows, cols] relative to its mean."""
        device = next(self.tower.parameters()).device
        prepared = self.tower.prepare(x.to(device).float() / 255)
        attention = self.tower.attention(prepared, self.layers)[0].mean(0)
        return attention / attention.mean().clamp(min=1e-12)

    def _tiled(self, x: Tensor, down: int, across: int) -> Tensor:
        """Join the maps of down x across tiles: [down * rows, across * cols]."""
        row_edges, column_edges = (
            np.linspace(0, side, count + 1).round().astype(int)
            for side, count in zip(x.shape[2:], (down, across))
        )
        rows = []
        for top, bottom in pairwise(row_edges):
            maps = [
                self._map(x[:, :, top:bottom, left:right]) for left, right in pairwise(column_edges)
            ]
            rows.append(torch.cat(maps, 1))
        return torch.cat(rows)


@lru_cache(maxsize=2)
def load_clip(
    name: str | None = None,
    weights: str | None = None,
    layers: int = LAYERS,
    preset: str = "default",
) -> ClipGuide:
    """Load a guide over a tower, of which only the first blocks are kept.

    Args:
        name: as towers.load_tower takes it. Default: DEFAULT_TOWER with DEFAULT_WEIGHTS.
        weights: as towers.load_tower takes them.
        layers: how many blocks to average over.
        preset: default, paper or attention (guidance.PRESETS).

    Returns:
        The guide.

    Raises:
        CodecError: as towers.load_tower raises.
    """
    if name is None:
        name = DEFAULT_TOWER
        weights = weights or DEFAULT_WEIGHTS
    return ClipGuide(load_tower(name, weights, layers), layers, preset)


@lru_cache(maxsize=2)
def load_paper(name: str | None = None, weights: str | None = None) -> ClipGuide:
    """Load the guide of arXiv 2509.24258 as published.

    Mean [CLS] attention of the first three blocks, 8x8 cells, thresholds at mu +- 0.75 sigma,
    three levels, and the same QP for all pictures of a quality.

    Args:
        name: as `load_clip` takes it.
        weights: as `load_clip` takes them.

    Returns:
        The guide.

    Raises:
        CodecError: as towers.load_tower raises.
    """
    guide = load_clip(name, weights)
    return ClipGuide(guide.tower, LAYERS, "paper", slope=0.0)
