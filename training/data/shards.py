"""Pictures from WebDataset shards, for sets that do not fit on one disk."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pytorch_lightning as pl
import torch
import webdataset
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from training.data.folder import checked, random_crop
from training.data.pictures import SUFFIXES, read_picture

# A run ends after this many consecutive samples without a picture.
MOST_SKIPPED = 1000


class Source(TypedDict):
    """A set of shards.

    Attributes:
        shards: Paths, URLs or `pipe:` commands, with brace expansion.
        weight: Its share, relative to the weights of the other sources.
    """

    shards: str
    weight: float


def read_sample(sample: dict[str, Any]) -> np.ndarray | None:
    """Read a sample's picture.

    Args:
        sample: Maps suffixes to contents, as webdataset returns them.

    Returns:
        RGB pixels [H, W, 3]. None if there is no picture, or if it cannot be decoded; the latter
        also logs a warning.
    """
    for name, content in sample.items():
        if f".{name.rsplit('.', 1)[-1].lower()}" in SUFFIXES:
            return read_picture(io.BytesIO(content), sample["__key__"])
    return None


class ShardCrops(IterableDataset[Tensor]):
    """`length` random crops [3, size, size] in 0..1 (`random_crop`) of shards drawn at random.

    Sources are mixed by weight. Samples without a decodable picture are skipped and counted.
    Shards that cannot be read are skipped with a warning.

    ::

        shards, drawn at random -> samples, shuffled -> pixels -> crop
    """

    def __init__(
        self,
        sources: Sequence[Source],
        length: int,
        size: int,
        scale: float,
        shuffle: int,
        recolour: float = 0.0,
    ) -> None:
        self.length = length
        self.size = checked(size)
        self.scale = scale
        self.recolour = recolour
        self.skipped = 0
        streams = [
            webdataset.WebDataset(
                s["shards"],
                # No shuffling of the list of shards: each worker draws them at random, with
                # replacement.
                resampled=True,
                shardshuffle=False,
                handler=webdataset.warn_and_continue,
            )
            for s in sources
        ]
        self.stream = webdataset.RandomMix(
            [s.shuffle(shuffle) for s in streams], [float(s["weight"]) for s in sources]
        )

    def __iter__(self) -> Iterator[Tensor]:
        worker = torch.utils.data.get_worker_info()
        share = self.length // worker.num_workers if worker else self.length
        count = 0
        in_a_row = 0
        for sample in self.stream:
            if count == share:
                return
            pixels = read_sample(sample)
            if pixels is None:
                self.skipped = self.skipped + 1
                in_a_row = in_a_row + 1
                if in_a_row == MOST_SKIPPED:
                    raise RuntimeError(
                        f"{MOST_SKIPPED} samples in a row held no picture that can be decoded; "
                        "check data.sources"
                    )
                continue
            # torch's seed differs from worker to worker, so workers draw different crops.
            random = np.random.default_rng(int(torch.randint(2**31, ())))
            count = count + 1
            in_a_row = 0
            yield random_crop(pixels, random, self.size, self.scale, self.recolour)


class ShardData(pl.LightningDataModule):
    """Training crops from WebDataset shards.

    For example, `sources=[{shards: "folder/{000..999}.tar", weight: 1}]`. `root` is a folder with
    some pictures, to which the entropy tables are fitted. `weights`, the weights of folders, is
    ignored; it is accepted because experiments set it.
    """

    def __init__(
        self,
        root: str,
        sources: Sequence[Source],
        batch: int,
        steps: int,
        size: int,
        scale: float,
        workers: int,
        shuffle: int = 500,
        recolour: float = 0.0,
        weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.sources = sources
        self.batch = batch
        self.steps = steps
        self.size = size
        self.scale = scale
        self.workers = workers
        self.shuffle = shuffle
        self.recolour = recolour

    def train_dataloader(self) -> DataLoader[Tensor]:
        crops = ShardCrops(
            self.sources,
            self.batch * self.steps,
            self.size,
            self.scale,
            self.shuffle,
            self.recolour,
        )
        return DataLoader(
            crops,
            batch_size=self.batch,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )
