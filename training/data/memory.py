"""Training pictures as one uint8 tensor in memory, for GPUs that are faster than file reads."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from training.data.folder import checked, random_crop, used
from training.data.pictures import list_pictures, read_picture, without_held_out

log = logging.getLogger(__name__)


class MemoryBatches(IterableDataset[Tensor]):
    """Batches of crops of tiles, drawn by weight and mirrored at random.

    A batch depends only on the seed and its step. Steps in which a stage replays earlier crops
    (`fresh_every`) get empty tensors [0], except for the first step after a start.

    Args:
        tiles: uint8 [N, 3, side, side], on any device.
        shares: the probability of each tile, [N].
        batch: number of crops in a batch.
        size: side of the crops, at most that of the tiles.
        steps: number of batches, counted from 0.
        seed: determines all random choices.
    """

    def __init__(
        self, tiles: Tensor, shares: Tensor, batch: int, size: int, steps: int, seed: int
    ) -> None:
        self.tiles = tiles
        self.shares = shares
        self.batch = batch
        self.size = size
        self.steps = steps
        self.seed = seed
        self.first = 0
        self.every = 1
        self.stride = 1
        self.offset = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Tensor]:
        for number in range(self.steps):
            step = self.first + number
            if number and step % self.every:
                yield torch.empty(0)
            else:
                yield self.draw(step * self.stride + self.offset)

    def draw(self, step: int) -> Tensor:
        """The batch of a step: float [batch, 3, size, size] in 0..1, on the tiles' device."""
        generator = torch.Generator().manual_seed((self.seed << 40) + step)
        chosen = torch.multinomial(self.shares, self.batch, True, generator=generator).tolist()
        most = self.tiles.shape[-1] - self.size + 1
        places = torch.randint(most, (self.batch, 2), generator=generator).tolist()
        mirrored = torch.rand(self.batch, generator=generator) < 0.5
        crops = [
            self.tiles[tile, :, top : top + self.size, left : left + self.size]
            for tile, (top, left) in zip(chosen, places, strict=True)
        ]
        batch = torch.stack(crops)
        flags = mirrored.to(batch.device)[:, None, None, None]
        return torch.where(flags, batch.flip(3), batch).float() / 255


class MemoryData(pl.LightningDataModule):
    """Tiles of pictures in `root/<folder>` for each folder of `weights`, in one uint8 tensor.

    `tiles` random crops of `side` x `side` pixels are taken of every picture, half of them scaled
    down first (training.data.folder.random_crop). With `on_device`, the tensor is on the trainer's
    device: 10,000 tiles of 384 pixels take 4.4 GB.

    ::

        files -> random_crop, once -> uint8 [N, 3, side, side] -> crops of a step -> [0, 1]
    """

    def __init__(
        self,
        root: str,
        weights: dict[str, float],
        batch: int,
        steps: int,
        size: int,
        scale: float,
        side: int,
        tiles: int,
        seed: int = 0,
        held_out: int = 0,
        on_device: bool = True,
        places: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__()
        if side < checked(size):
            raise ValueError(f"data.side must be at least data.size, not {side}")
        self.root = Path(root)
        self.weights = used(weights)
        self.places = dict(places or {})
        self.batch = batch
        self.steps = steps
        self.size = size
        self.scale = scale
        self.side = side
        self.tiles = tiles
        self.seed = seed
        self.held_out = held_out
        self.on_device = on_device
        self.loaded: tuple[Tensor, Tensor] | None = None

    def load(self) -> tuple[Tensor, Tensor]:
        """Read all pictures, once.

        Returns:
            tiles: uint8 [N, 3, side, side].
            shares: the probability of each, [N].

        Raises:
            FileNotFoundError: A folder has no picture that can be decoded.
        """
        if self.loaded is None:
            parts = {name: self._folder(name) for name in self.weights}
            total = sum(self.weights.values())
            shares = [
                torch.full((len(part),), self.weights[name] / total / len(part))
                for name, part in parts.items()
            ]
            self.loaded = torch.cat(list(parts.values())), torch.cat(shares)
            log.info("%d tiles of %d pixels in memory", len(self.loaded[0]), self.side)
        return self.loaded

    def _folder(self, name: str) -> Tensor:
        folder = Path(self.places.get(name, self.root / name))
        tiles = []
        for index, path in enumerate(without_held_out(list_pictures(folder), self.held_out)):
            pixels = read_picture(path)
            if pixels is None:
                continue
            for number in range(self.tiles):
                random = np.random.default_rng((self.seed, index, number))
                tile = random_crop(pixels, random, self.side, self.scale)
                tiles.append((tile * 255).round().byte())
        if not tiles:
            raise FileNotFoundError(f"no picture in {folder} can be decoded")
        return torch.stack(tiles)

    def train_dataloader(self) -> DataLoader[Tensor]:
        tiles, shares = self.load()
        if self.trainer and self.on_device:
            tiles = tiles.to(self.trainer.strategy.root_device)
            self.loaded = tiles, shares
        batches = MemoryBatches(tiles, shares, self.batch, self.size, self.steps, self.seed)
        if self.trainer:  # a resumed run continues after the crops that it has used
            batches.first = self.trainer.global_step
            batches.every = getattr(self.trainer.lightning_module, "fresh_every", 1)
            batches.stride = self.trainer.world_size
            batches.offset = self.trainer.global_rank
        return DataLoader(batches, batch_size=None)
