"""A training run: its trainer, its callbacks, and what happens before the first step."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar

from codec.memory import keep_freed_memory
from codec.networks.tensors import has_bfloat16
from training.data.folder import endless
from training.device import use_huge_pages
from training.run import LAST_CHECKPOINT, SECONDS_PER_MINUTE

log = logging.getLogger(__name__)
# Bytes of freed memory that the allocator keeps for the next step.
KEPT_BYTES = 2000 << 20
# Steps between two updates of the progress bar.
PROGRESS_STEPS = 20


def pick_precision(accelerator: str) -> str:
    """Choose bfloat16 mixed precision if the hardware supports it, else float32.

    Args:
        accelerator: Lightning's name: `auto`, `cpu`, `gpu`.

    Returns:
        Lightning's name of the precision.
    """
    kind = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    return "bf16-mixed" if has_bfloat16(torch.device(kind)) else "32-true"


class LastCheckpoint(ModelCheckpoint):
    """Writes `last.ckpt`, the only checkpoint, every few minutes, at SIGTERM and at the end.

    In the file, `state_dict` has the averaged weights and `current_model_state` the weights in
    training, which a resumed run needs. At the end of a run, Lightning calls this class after the
    averaged weights have replaced those in training, so both would be averages. SaveAtEnd
    therefore writes the final checkpoint.
    """

    def __init__(self, folder: Path, every: timedelta) -> None:
        super().__init__(
            folder,
            save_last=True,
            save_top_k=0,
            train_time_interval=every,
            enable_version_counter=False,
        )

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Save the training so far. SIGTERM also arrives as an exception."""
        if trainer.global_step:
            trainer.save_checkpoint(Path(str(self.dirpath)) / LAST_CHECKPOINT.name)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Do nothing: SaveAtEnd has written the file."""


class SaveAtEnd(pl.Callback):
    """Writes the checkpoint at the end, before the averaged weights replace those in training."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.path)


class Piece(pl.Callback):
    """Ends a process after some minutes, so that another one can resume the run.

    The schedule is not affected: it follows the steps and minutes of the whole run.
    """

    def __init__(self, minutes: float) -> None:
        self.seconds = SECONDS_PER_MINUTE * minutes
        self.start = time.monotonic()

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        if time.monotonic() - self.start >= self.seconds:
            trainer.should_stop = True


def make_callbacks(config: DictConfig) -> list[pl.Callback]:
    """Make the callbacks of a run.

    Args:
        config: The whole configuration.

    Returns:
        Checkpoints, validation on real bytes, averaged weights and a progress bar. SaveAtEnd comes
        before the averaged weights.
    """
    last = Path(config.run_dir) / LAST_CHECKPOINT
    pieces = [Piece(config.piece_minutes)] if config.piece_minutes else []
    return [
        *pieces,
        LastCheckpoint(last.parent, timedelta(minutes=config.checkpoint_minutes)),
        hydra.utils.instantiate(config.validation),
        SaveAtEnd(last),
        EMAWeightAveraging(decay=config.ema, use_buffers=False),
        TQDMProgressBar(refresh_rate=PROGRESS_STEPS),
    ]


def make_trainer(config: DictConfig, *others: pl.Callback) -> pl.Trainer:
    """Make the trainer as configured.

    Args:
        config: The whole configuration.
        others: Callbacks that come before the trainer's own.

    Returns:
        A trainer that has not run yet.
    """
    settings: dict[str, Any] = dict(config.trainer)
    if settings["precision"] == "auto":
        settings["precision"] = pick_precision(settings["accelerator"])
        log.info("precision: %s", settings["precision"])
    loggers = [hydra.utils.instantiate(entry) for entry in config.logger.values()]
    return hydra.utils.instantiate(
        settings,
        callbacks=[*others, *make_callbacks(config)],
        logger=loggers,
        default_root_dir=config.run_dir,
    )


def resumed(config: DictConfig) -> str | None:
    """The checkpoint that a run continues from; None for a new run.

    `resume=auto` means the last checkpoint in the run's folder if there is one.
    """
    if config.resume != "auto":
        return config.resume
    last = Path(config.run_dir) / LAST_CHECKPOINT
    return str(last) if last.is_file() else None


def train(config: DictConfig) -> None:
    """Train as configured: from the block transform, from other weights, or from a checkpoint.

    Args:
        config: The whole configuration (conf/train.yaml).
    """
    use_huge_pages()
    # Two runs of 45 steps of `small` made 1.35 and 1.16 steps a second with it, 1.11 and 1.14
    # without (checkpoints/TRAINING.md).
    keep_freed_memory(KEPT_BYTES)
    pl.seed_everything(config.seed)
    stage = hydra.utils.instantiate(config.stage)
    data = hydra.utils.instantiate(config.data)
    resume = resumed(config)
    if config.start and not resume:
        stage.start_from(Path(config.start), endless(data))
    trainer = make_trainer(config)
    Path(config.run_dir).mkdir(parents=True, exist_ok=True)
    # Saved with resolved values, because COTAM_DATA and the date will differ later.
    OmegaConf.save(config, Path(config.run_dir) / "config.yaml", resolve=True)
    # Checkpoints have tensors and plain values only, so loading them need not run code.
    trainer.fit(stage, data, ckpt_path=resume, weights_only=True)
