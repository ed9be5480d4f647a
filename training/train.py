"""The Hydra entry: `python -m training.train experiment=base`.

`resume=RUN_DIR/checkpoints/last.ckpt` goes on where a run stopped; `start=` that file, or exported weights
(.safetensors), begins a new schedule from there.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import hydra
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from codec.memory import keep_freed_memory
from codec.networks.tensors import has_bfloat16
from training.data.folder import endless
from training.device import use_huge_pages

log = logging.getLogger(__name__)
KEPT_BYTES = 2000 << 20
CONF = str(Path(__file__).resolve().parents[1] / "conf")


def pick_precision(accelerator: str) -> str:
    """bfloat16 mixed precision where the hardware computes in it, else float32."""
    kind = "cuda" if accelerator != "cpu" and torch.cuda.is_available() else "cpu"
    return "bf16-mixed" if has_bfloat16(torch.device(kind)) else "32-true"


class SaveAtEnd(pl.Callback):
    """The last checkpoint, written before the averaged weights replace those in training: it can be resumed like any other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        trainer.save_checkpoint(self.path)


def make_callbacks(config: DictConfig) -> list[pl.Callback]:
    """Checkpoints every few minutes and at SIGTERM, validation on real bytes, averaged weights, a progress bar."""
    from pytorch_lightning.callbacks import EMAWeightAveraging, ModelCheckpoint, TQDMProgressBar

    folder = Path(config.run_dir) / "checkpoints"
    every = timedelta(minutes=config.checkpoint_minutes)
    saver = ModelCheckpoint(
        folder, save_last=True, save_top_k=0, train_time_interval=every, save_on_exception=True
    )
    average = EMAWeightAveraging(decay=config.ema, use_buffers=False)
    ending = SaveAtEnd(folder / "last.ckpt")
    return [
        saver,
        hydra.utils.instantiate(config.validation),
        ending,
        average,
        TQDMProgressBar(refresh_rate=20),
    ]


def make_trainer(config: DictConfig, *others: pl.Callback) -> pl.Trainer:
    """As configured; others: callbacks that come before its own."""
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


@hydra.main(version_base="1.3", config_path=CONF, config_name="train")
def main(config: DictConfig) -> None:
    """Train as configured."""
    use_huge_pages()
    keep_freed_memory(KEPT_BYTES)
    pl.seed_everything(config.seed)
    stage = hydra.utils.instantiate(config.stage)
    data = hydra.utils.instantiate(config.data)
    if config.start:
        stage.start_from(Path(config.start), endless(data))
    trainer = make_trainer(config)
    Path(config.run_dir).mkdir(parents=True, exist_ok=True)
    OmegaConf.save(config, Path(config.run_dir) / "config.yaml", resolve=True)
    trainer.fit(stage, data, ckpt_path=config.resume)


if __name__ == "__main__":
    main()
