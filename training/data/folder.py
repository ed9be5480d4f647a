"""Random crops of training pictures, from folders mixed by weight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from codec.errors import BadArgument
from codec.networks.config import STRIDE_Z
from training.data.pictures import list_pictures, read_picture, without_held_out


def checked(size: int) -> int:
    """Return a crop's side. Raises ValueError unless it is a multiple of 64 (hyper-latent grid)."""
    if size < STRIDE_Z or size % STRIDE_Z:
        raise ValueError(f"data.size must be a multiple of {STRIDE_Z}, not {size}")
    return size


def used(weights: Mapping[str, float]) -> dict[str, float]:
    """The folders whose weight is not 0. Raises BadArgument if none is left or one is negative."""
    left = {name: weight for name, weight in weights.items() if weight}
    if not left or min(left.values()) < 0:
        raise BadArgument(f"data.weights must be 0 or more, and one of them more, not {weights}")
    return left


def recoloured(crop: Tensor, random: np.random.Generator) -> Tensor:
    """Change white balance, saturation and gamma of a crop [3, H, W] in 0..1, rounded to 8 bits."""
    balance = torch.from_numpy(np.exp(random.normal(0, 0.08, (3, 1, 1)))).float()
    grey = crop.mean(0, keepdim=True)
    coloured = grey + (crop - grey) * random.uniform(0.4, 1.3)
    toned = (coloured * balance).clamp_(0, 1) ** float(np.exp(random.normal(0, 0.25)))
    # Other crops come from files and have 256 levels. Without rounding, values in between would
    # occur in recoloured crops only.
    return (toned * 255).round_() / 255


def random_crop(
    pixels: np.ndarray,
    random: np.random.Generator,
    size: int,
    least_scale: float,
    recolour: float = 0.0,
) -> Tensor:
    """Cut a random crop out of a picture.

    Half of the crops are scaled down first, and half are mirrored. A picture that is too small is
    padded with its mirror image.

    Args:
        pixels: [H, W, 3].
        random: The source of all random choices.
        size: The crop's side.
        least_scale: The smallest scale, 0..1.
        recolour: The share of crops whose colours are changed, 0..1 (`recoloured`).

    Returns:
        [3, size, size] in 0..1.
    """
    h, w = pixels.shape[:2]
    scale = float(np.exp(random.uniform(np.log(least_scale), 0))) if random.random() < 0.5 else 1.0
    # No larger than the picture's longer side: more would be padding on both axes.
    side = min(max(size, round(size / scale)), max(h, w))
    top = random.integers(max(h - side, 0) + 1)
    left = random.integers(max(w - side, 0) + 1)
    crop = pixels[top : top + side, left : left + side]
    if side > size:
        target = (
            max(1, round(crop.shape[1] * size / side)),
            max(1, round(crop.shape[0] * size / side)),
        )
        crop = np.asarray(
            Image.fromarray(np.ascontiguousarray(crop)).resize(target, Image.Resampling.LANCZOS)
        )
    missing = [(0, max(0, size - crop.shape[0])), (0, max(0, size - crop.shape[1])), (0, 0)]
    crop = np.pad(crop, missing, mode="symmetric")[:size, :size]
    if random.random() < 0.5:
        crop = crop[:, ::-1]
    tensor = torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).float() / 255
    return recoloured(tensor, random) if random.random() < recolour else tensor


class RandomCrops(Dataset[Tensor]):
    """`length` random crops [3, size, size] in 0..1 (`random_crop`) of folders drawn by weight.

    A crop depends only on the seed and its index, counted from `first`. Decoded pictures are kept
    in memory while they fit into `cache_bytes`. A picture that cannot be decoded is skipped and
    counted. A step uses `per_step` crops. Only every `every`-th step, and the first one after a
    start, get real crops. The other steps get empty tensors [0], because their stage replays
    earlier crops from its memory.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        weights: Sequence[float],
        length: int,
        size: int = 256,
        scale: float = 0.5,
        seed: int = 0,
        cache_bytes: int = 4 << 30,
        recolour: float = 0.0,
        held_out: int = 0,
    ) -> None:
        self.folders = [without_held_out(list_pictures(f), held_out) for f in folders]
        self.probabilities = np.asarray(weights, float) / np.sum(weights)
        self.length = length
        self.size = checked(size)
        self.scale = scale
        self.seed = seed
        self.recolour = recolour
        self.first = 0
        self.every = 1
        self.per_step = length
        self.cache: dict[Path, np.ndarray] = {}
        self.room = cache_bytes
        self.broken: set[Path] = set()

    @property
    def skipped(self) -> int:
        """How many files could not be decoded."""
        return len(self.broken)

    def __len__(self) -> int:
        return self.length

    def _read(self, path: Path) -> np.ndarray | None:
        if path in self.cache:
            return self.cache[path]
        if path in self.broken:
            return None
        pixels = read_picture(path)
        if pixels is None:
            self.broken.add(path)
            return None
        if pixels.nbytes <= self.room:
            self.cache[path] = pixels
            self.room -= pixels.nbytes
        return pixels

    def _draw(self, random: np.random.Generator) -> np.ndarray:
        for _ in range(100):
            paths = self.folders[random.choice(len(self.folders), p=self.probabilities)]
            pixels = self._read(paths[random.integers(len(paths))])
            if pixels is not None:
                return pixels
        raise RuntimeError("a hundred pictures in a row could not be decoded; check data.root")

    def __getitem__(self, index: int) -> Tensor:
        # After a start or a resume the stage's memory is empty, so the first step gets real crops
        # even if its number is not a multiple of `every`.
        if index >= self.per_step and (self.first + index) // self.per_step % self.every:
            return torch.empty(0)
        # The crop's index is part of the seed, so a resumed run or another number of workers draws
        # the same crops.
        random = np.random.default_rng((self.seed, self.first + index))
        return random_crop(self._draw(random), random, self.size, self.scale, self.recolour)


class FolderData(pl.LightningDataModule):
    """Training crops from `root/<folder>` for each folder of `weights`.

    `places` gives other paths for some of the folders. A folder of weight 0 need not exist. Every
    `held_out`-th picture of a folder is held out; 0 holds out none. With several processes, each
    process draws its own crops.
    """

    def __init__(
        self,
        root: str,
        weights: dict[str, float],
        batch: int,
        steps: int,
        size: int,
        scale: float,
        workers: int,
        seed: int = 0,
        recolour: float = 0.0,
        places: Mapping[str, str] | None = None,
        held_out: int = 0,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.weights = dict(weights)
        self.places = dict(places or {})
        self.batch = batch
        self.steps = steps
        self.size = size
        self.scale = scale
        self.workers = workers
        self.seed = seed
        self.recolour = recolour
        self.held_out = held_out

    def train_dataloader(self) -> DataLoader[Tensor]:
        weights = used(self.weights)
        folders = [Path(self.places.get(name, self.root / name)) for name in weights]
        length = self.batch * self.steps
        shares = list(weights.values())
        crops = RandomCrops(
            folders,
            shares,
            length,
            self.size,
            self.scale,
            self.seed,
            recolour=self.recolour,
            held_out=self.held_out,
        )
        if self.trainer:  # a resumed run continues after the crops that it has used
            crops.per_step = self.batch * self.trainer.world_size
            crops.first = self.trainer.global_step * crops.per_step
            crops.every = getattr(self.trainer.lightning_module, "fresh_every", 1)
        return DataLoader(
            crops,
            batch_size=self.batch,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
        )


def endless(data: pl.LightningDataModule) -> Callable[[], Tensor]:
    """Make a function that returns another batch of training pictures at each call.

    Args:
        data: The pictures. After the last batch, it starts again with the first one.
    """

    def batches() -> Iterator[Tensor]:
        while True:
            yield from data.train_dataloader()

    stream = batches()
    return lambda: next(stream)
