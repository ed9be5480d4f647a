"""Batches of coded views (training.data.coded)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from codec.errors import BadArgument

LOOK_EVERY = 200  # steps between two searches for new shards


class CodedViews(Dataset[Tensor]):
    """`length` random entries of the shards in a folder, including shards that are added later.

    An entry is uint8 [versions, S, S, 3]: the original and `versions - 1` of its coded versions.
    It depends on the seed, its index (counted from `first`) and the shards that exist.
    """

    def __init__(self, folder: Path, length: int, batch: int, versions: int, seed: int) -> None:
        self.folder = folder
        self.length = length
        self.batch = batch
        self.versions = versions
        self.seed = seed
        self.first = 0
        self.shards: dict[Path, NDArray[np.uint8]] = {}

    def __len__(self) -> int:
        return self.length

    def _look(self) -> None:
        for path in sorted(self.folder.glob("*.npy")):
            if path not in self.shards:
                self.shards[path] = np.load(path, mmap_mode="r")
        if not self.shards:
            raise BadArgument(f"no coded views in {self.folder}; run python -m training.data.coded")

    def __getitem__(self, index: int) -> Tensor:
        if index % (LOOK_EVERY * self.batch) == 0 or not self.shards:
            self._look()
        random = np.random.default_rng((self.seed, self.first + index))
        shards = list(self.shards.values())
        pictures = shards[random.integers(len(shards))]
        k = random.integers(len(pictures))
        chosen = [0, *(1 + random.permutation(pictures.shape[1] - 1)[: self.versions - 1])]
        return torch.from_numpy(pictures[k][chosen])


class CodedData(pl.LightningDataModule):
    """Batches of `CodedViews`.

    Args:
        folder: where the shards are.
        batch: number of entries in a batch.
        steps: length of the run.
        size: side of the views in pixels; only the model card uses it.
        weights: shares of the folders of pictures; only the model card uses them.
        versions: how many versions of each picture an entry has, including the original.
        seed: determines which entries are drawn.
    """

    def __init__(
        self,
        folder: str,
        batch: int,
        steps: int,
        size: int,
        weights: dict[str, float],
        versions: int = 3,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.folder = Path(folder)
        self.batch = batch
        self.steps = steps
        self.size = size
        self.weights = weights
        self.versions = versions
        self.seed = seed

    def train_dataloader(self) -> DataLoader[Tensor]:
        views = CodedViews(
            self.folder, self.batch * self.steps, self.batch, self.versions, self.seed
        )
        if self.trainer:  # a resumed run continues after the entries that it has used
            views.first = self.trainer.global_step * self.batch
        return DataLoader(views, batch_size=self.batch)
