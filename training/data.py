"""Pictures for training: folders read recursively, random crops, photos and text mixed by weight."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

log = logging.getLogger(__name__)
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


def list_pictures(folder: Path) -> list[Path]:
    """All pictures below a folder, sorted. Raises FileNotFoundError if there is none."""
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    if not found:
        raise FileNotFoundError(f"no pictures below {folder}; set data.root or the variable COTAM_DATA")
    return found


def read_picture(path: Path) -> np.ndarray | None:
    """RGB pixels [H, W, 3]; None, with a warning, for a file that cannot be decoded."""
    try:
        return np.array(Image.open(path).convert("RGB"))
    except (OSError, ValueError) as error:
        log.warning("skipped %s (%s)", path, error)
        return None


class RandomCrops(Dataset[Tensor]):
    """`length` random crops [3, size, size] in 0..1: a folder drawn by weight, a picture, a scale in `scale`..1, a place, a flip.

    Decoded pictures are kept in memory while they fit into `cache_bytes`. A picture that cannot be decoded is skipped and counted.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        weights: Sequence[float],
        length: int,
        size: int = 256,
        scale: float = 0.5,
        cache_bytes: int = 4 << 30,
    ) -> None:
        self.folders = [list_pictures(f) for f in folders]
        self.probabilities = np.asarray(weights, float) / np.sum(weights)
        self.length, self.size, self.scale = length, size, scale
        self.cache: dict[Path, np.ndarray] = {}
        self.room = cache_bytes
        self.skipped = 0

    def __len__(self) -> int:
        return self.length

    def _read(self, path: Path) -> np.ndarray | None:
        if path in self.cache:
            return self.cache[path]
        pixels = read_picture(path)
        if pixels is None:
            self.skipped += 1
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
        random = np.random.default_rng(int(torch.randint(2**31, ())))
        pixels = self._draw(random)
        h, w = pixels.shape[:2]
        scale = float(np.exp(random.uniform(np.log(self.scale), 0))) if random.random() < 0.5 else 1.0
        side = min(max(self.size, round(self.size / scale)), max(h, w))
        top, left = random.integers(max(h - side, 0) + 1), random.integers(max(w - side, 0) + 1)
        crop = pixels[top : top + side, left : left + side]
        if side > self.size:
            target = (max(1, round(crop.shape[1] * self.size / side)), max(1, round(crop.shape[0] * self.size / side)))
            crop = np.asarray(Image.fromarray(crop).resize(target, Image.Resampling.LANCZOS))
        missing = [(0, max(0, self.size - crop.shape[0])), (0, max(0, self.size - crop.shape[1])), (0, 0)]
        crop = np.pad(crop, missing, mode="symmetric")[: self.size, : self.size]
        if random.random() < 0.5:
            crop = crop[:, ::-1]
        return torch.from_numpy(np.ascontiguousarray(crop.transpose(2, 0, 1))).float() / 255


class FolderData(pl.LightningDataModule):
    """Training crops from `root/<folder>` for each folder of `weights`."""

    def __init__(self, root: str, weights: dict[str, float], batch: int, steps: int, size: int, scale: float, workers: int) -> None:
        super().__init__()
        self.root, self.weights = Path(root), dict(weights)
        self.batch, self.steps, self.size, self.scale, self.workers = batch, steps, size, scale, workers

    def train_dataloader(self) -> DataLoader[Tensor]:
        folders = [self.root / name for name in self.weights]
        crops = RandomCrops(folders, list(self.weights.values()), self.batch * self.steps, self.size, self.scale)
        return DataLoader(crops, batch_size=self.batch, num_workers=self.workers, persistent_workers=self.workers > 0)
