"""Validation as users will see it: the current weights, exported in memory, code real pictures to real bytes."""

from __future__ import annotations

import copy
import logging
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
from PIL import Image

from codec.api import Codec
from codec.backends.torch import TorchBackend
from codec.checkpoint import Checkpoint
from codec.networks.model import Networks
from codec.networks.weights import to_arrays
from training.data import list_pictures
from training.tables import fit_tables

log = logging.getLogger(__name__)
DEFAULT_SKIP = 7


def make_checkpoint(networks: Networks, name: str, fit_on: Path, count: int, skip_below: int = DEFAULT_SKIP) -> Checkpoint:
    """Networks as a checkpoint, with tables fitted on `count` pictures below `fit_on`; metadata holds what decoding needs."""
    frequencies, lengths = fit_tables(networks, fit_on, count)
    arrays = to_arrays(networks) | {"tables.frequencies": frequencies, "tables.lengths": lengths.astype(np.int32)}
    return Checkpoint(arrays, {"name": name, "config": networks.config.to_dict(), "skip_below": skip_below})


class RealBytes(pl.Callback):
    """Every `every` steps: bits per pixel and PSNR of real files, at a few qualities; 0 switches it off.

    ::

        networks (copy on the CPU) -> checkpoint in memory -> Codec -> files of `folder` -> bpp, PSNR in the log
    """

    def __init__(self, folder: str, fit_on: str, every: int, pictures: int = 6, qualities: tuple[int, ...] = (15, 45, 75)) -> None:
        self.folder, self.fit_on = Path(folder), Path(fit_on)
        self.every, self.pictures, self.qualities = every, pictures, qualities

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: object) -> None:
        if self.every and trainer.global_step and trainer.global_step % self.every == 0 and trainer.is_global_zero:
            for name, value in self.measure(module.networks).items():  # type: ignore[arg-type]
                module.log(name, value, rank_zero_only=True)

    def measure(self, networks: Networks) -> dict[str, float]:
        """Means over pictures, by quality; empty (and said so) where there are no pictures."""
        try:
            found_paths = list_pictures(self.folder)
        except FileNotFoundError as error:
            log.warning("no validation: %s", error)
            return {}
        paths = found_paths[:: max(1, len(found_paths) // self.pictures)][: self.pictures]
        copied = copy.deepcopy(networks).cpu().eval()
        cotam = Codec(TorchBackend(make_checkpoint(copied, "validation", self.fit_on, 4), "cpu"))
        found: dict[str, list[float]] = {}
        for path in paths:
            pixels = np.asarray(Image.open(path).convert("RGB"))
            for quality in self.qualities:
                data = cotam.encode(pixels, quality=quality, guide="uniform")
                squared = np.square(cotam.decode(data, "array").astype(np.float32) - pixels).mean()
                found.setdefault(f"val_bpp_q{quality}", []).append(len(data) * 24 / pixels.size)
                found.setdefault(f"val_psnr_q{quality}", []).append(10 * float(np.log10(255**2 / max(float(squared), 1e-9))))
        return {name: float(np.mean(values)) for name, values in found.items()}
