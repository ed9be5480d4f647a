"""Validation on real files: the current weights encode pictures, and file sizes are measured."""

from __future__ import annotations

import copy
import logging
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from numpy.typing import NDArray
from pytorch_lightning.loggers import TensorBoardLogger

from codec.api import Codec
from codec.backends.torch import TorchBackend
from codec.evaluation.judges import Judge, JudgeUnavailable, build_judge
from codec.guidance import choose
from codec.info import qp_field_of
from codec.io.heatmap import panels
from codec.networks.model import Networks
from training.data.pictures import is_held_out, list_pictures, read_picture
from training.fit.checkpoint import make_checkpoint

Pixels = NDArray[np.uint8]
log = logging.getLogger(__name__)
# Number of pictures that the tables are fitted to in a validation.
TABLE_PICTURES = 4
# Keeps PSNR and the logarithm of importance finite.
TINY = 1e-9


class RealBytes(pl.Callback):
    """Bits per pixel and PSNR of real files at a few qualities, every `every` steps (0: never).

    ::

        networks (copy on the CPU) -> checkpoint in memory -> Codec -> files of `folder`
            files -> bpp, PSNR in the log
            files -> x, x_hat, importance, QPs, bits in TensorBoard
    """

    def __init__(
        self,
        folder: str,
        fit_on: str,
        every: int,
        pictures: int = 6,
        qualities: tuple[int, int, int] = (15, 45, 75),
    ) -> None:
        self.folder = Path(folder)
        self.fit_on = Path(fit_on)
        self.every = every
        self.pictures = pictures
        self.qualities = qualities

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, *_: object
    ) -> None:
        if (
            self.every
            and trainer.global_step
            and trainer.global_step % self.every == 0
            and trainer.is_global_zero
        ):
            values, views = self.measure(module.networks)  # type: ignore[arg-type]
            for name, value in values.items():
                module.log(name, value, rank_zero_only=True)
            for logger in trainer.loggers:
                if isinstance(logger, TensorBoardLogger):
                    for name, view in views.items():
                        logger.experiment.add_image(
                            name, view, trainer.global_step, dataformats="HWC"
                        )

    def chosen(self) -> list[Path]:
        """The pictures to choose from. Raises FileNotFoundError if there is none."""
        return list_pictures(self.folder)

    def scores(self, original: Pixels, decoded: Pixels) -> dict[str, float]:
        """Further values of a decoded picture [H, W, 3], by name."""
        return {}

    def measure(self, networks: Networks) -> tuple[dict[str, float], dict[str, NDArray[np.uint8]]]:
        """Code the pictures.

        Args:
            networks: On any device; not changed.

        Returns:
            Means over the pictures, by name and quality, and pictures [H, W, 3] for TensorBoard.
            If there are no pictures, a warning is logged and both are empty.
        """
        try:
            paths = self.chosen()
        except FileNotFoundError as error:
            log.warning("no validation: %s", error)
            return {}, {}
        pictures = readable(paths, self.pictures)
        if not pictures:
            log.warning("no validation: none of the pictures in %s can be read", self.folder)
            return {}, {}
        # Exporting fits the preview's layer in place; the weights in training must not change.
        copied = copy.deepcopy(networks).cpu().eval()
        cotam = Codec(TorchBackend(make_checkpoint(copied, "validation", self.fit_on, 4), "cpu"))
        values: dict[str, list[float]] = {}
        for pixels in pictures:
            for quality in self.qualities:
                # Always the learned tool without a guide: the curve must depend on weights only.
                data = cotam.encode(pixels, tool="learned", quality=quality, guide="uniform")
                decoded = cotam.decode(data, output="array")
                squared = np.square(decoded.astype(np.float32) - pixels).mean()
                for name, value in self.scores(pixels, decoded).items():
                    values.setdefault(f"{name}_q{quality}", []).append(value)
                values.setdefault(f"val_bpp_q{quality}", []).append(len(data) * 24 / pixels.size)
                values.setdefault(f"val_psnr_q{quality}", []).append(
                    10 * float(np.log10(255**2 / max(float(squared), 1e-9)))
                )
        return {name: float(np.mean(one)) for name, one in values.items()}, views_of(
            cotam, pictures[0], self.qualities[1]
        )


class KeptAside(RealBytes):
    """RealBytes on held-out pictures, with the score of a network that no training uses.

    The network is EfficientNet-Lite0: `val_lite0_q45` is the relative squared error of its final
    features (codec.evaluation.judges.lite0). If its package is missing, a warning is logged.

    Args:
        held_out: as `data.held_out`: every `held_out`-th picture of the folder is held out.
        data: the folder COTAM_DATA, which `build_judge` needs.
        settings: those of RealBytes.
    """

    def __init__(self, held_out: int, data: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.held_out = held_out
        self.data = Path(data)

    def chosen(self) -> list[Path]:
        paths = list_pictures(self.folder)
        return [path for index, path in enumerate(paths) if is_held_out(index, self.held_out)]

    @cached_property
    def judge(self) -> Judge | None:
        try:
            return build_judge("lite0", self.data)
        except JudgeUnavailable as error:
            log.warning("no judge: %s", error)
            return None

    def scores(self, original: Pixels, decoded: Pixels) -> dict[str, float]:
        if self.judge is None:
            return {}
        return {"val_lite0": self.judge.judge(original, decoded, None)["feature_error"]}


def readable(paths: list[Path], count: int) -> list[NDArray[np.uint8]]:
    """At most `count` pictures [H, W, 3], evenly spaced.

    A picture that cannot be read is replaced by the next one that can.
    """
    step = max(1, len(paths) // count)
    chosen = []
    for start in range(0, len(paths), step)[:count]:
        pixels = (read_picture(path) for path in paths[start : start + step])
        chosen += list(islice((one for one in pixels if one is not None), 1))
    return chosen


def views_of(
    cotam: Codec, pixels: NDArray[np.uint8], quality: float
) -> dict[str, NDArray[np.uint8]]:
    """Pictures for TensorBoard: x, x_hat, importance, QP field and bits, [H, W, 3] each."""
    importance = choose("student")(pixels)
    data = cotam.encode(pixels, tool="learned", quality=quality, guide=lambda _: importance)
    decoded = cotam.decode_full(data, want_bits=True)
    assert decoded.bits is not None
    log_importance = None if importance is None else np.log(importance.values + TINY)
    return {
        "x": pixels,
        "x_hat": np.asarray(
            panels(decoded.picture.pixels, decoded.bits, qp_field_of(data), log_importance)
        ),
    }
