"""Time of a whole training step: `python -m benchmarks.train_step --json`.

Runs the real trainer and its callbacks on pictures of COTAM_DATA, as an experiment configures them.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import hydra
import pytorch_lightning as pl
from hydra import compose, initialize_config_dir

from benchmarks.lib.output import add_options, hand_over
from codec.evaluation.machine import describe
from codec.memory import keep_freed_memory
from training import CONF_FOLDER
from training.data.folder import endless
from training.device import use_huge_pages
from training.run import SECONDS_PER_MINUTE
from training.trainer import KEPT_BYTES, make_trainer, pick_precision

# Steps that are not timed: the first ones allocate memory, and every tenth step updates the
# optimizer's bases.
WARMUP = 12
# Parts of a step in their order. `between` is the time for averaged weights, logs and next crops.
PARTS = ("between", "forward", "backward", "optimizer")


class Clock(pl.Callback):
    """Records the times of the parts of each step."""

    def __init__(self) -> None:
        self.steps: list[list[float]] = []

    def on_train_batch_start(self, *_: Any) -> None:
        self.steps.append([time.perf_counter()])

    def on_before_backward(self, *_: Any) -> None:
        self.steps[-1].append(time.perf_counter())

    def on_after_backward(self, *_: Any) -> None:
        self.steps[-1].append(time.perf_counter())

    def on_train_batch_end(self, *_: Any) -> None:
        self.steps[-1].append(time.perf_counter())

    def seconds(self) -> list[dict[str, float]]:
        """Seconds of each step after the warm-up.

        Returns:
            For each step, its PARTS, and `step`: from the end of the previous step to its own end.
        """
        rows = []
        for before, now in zip(self.steps[WARMUP - 1 :], self.steps[WARMUP:], strict=False):
            moments = [before[-1], *now]
            parts = {part: b - a for part, (a, b) in zip(PARTS, pairwise(moments), strict=True)}
            rows.append(parts | {"step": moments[-1] - moments[0]})
        return rows


def measure(settings: list[str], steps: int) -> dict[str, Any]:
    """Time steps of training.

    Args:
        settings: Hydra overrides.
        steps: number of steps to time.

    Returns:
        Median seconds of a step and of its parts, and the mean of whole steps, which includes
        that every tenth step updates the optimizer's bases.
    """
    with (
        tempfile.TemporaryDirectory() as folder,
        initialize_config_dir(str(CONF_FOLDER), version_base="1.3"),
    ):
        fixed = [
            f"run_dir={folder}",
            f"steps={WARMUP + steps}",
            "validation.every=0",
            "resume=null",
            "piece_minutes=null",
        ]
        config = compose("train", [*settings, *fixed])
        stage = hydra.utils.instantiate(config.stage)
        data = hydra.utils.instantiate(config.data)
        if config.start:
            stage.start_from(Path(config.start), endless(data))
        precision = config.trainer.precision
        if precision == "auto":
            precision = pick_precision(config.trainer.accelerator)
        clock = Clock()
        make_trainer(config, clock).fit(stage, data)
    seconds = clock.seconds()
    parts = {part: median(s[part] for s in seconds) for part in PARTS}
    return {
        "settings": settings,
        "precision": precision,
        "steps": len(seconds),
        "batch": int(config.data.batch),
    } | {
        "mean": sum(s["step"] for s in seconds) / len(seconds),
        "median": median(s["step"] for s in seconds),
        "parts": parts,
    }


def fits(result: dict[str, Any], minutes: float) -> str:
    """One line that says how much training fits into some minutes.

    Args:
        result: a result of `measure`.
        minutes: minutes of training, not counting its start.

    Returns:
        Steps and crops.
    """
    steps = int(SECONDS_PER_MINUTE * minutes / result["mean"])
    named = " ".join(result["settings"])
    crops = steps * result["batch"]
    return f"{named}: {steps:,} steps, {crops:,} crops fit into {minutes:g} minutes"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "settings",
        nargs="*",
        default=["experiment=base", "data.batch=8", "data.size=256"],
        help="Hydra overrides",
    )
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument(
        "--minutes", type=float, default=None, help="also say what fits into so many minutes"
    )
    add_options(parser)
    options = parser.parse_args()
    use_huge_pages()
    keep_freed_memory(KEPT_BYTES)
    result = {"machine": describe()} | measure(options.settings, options.steps)
    if not hand_over(result, options):
        print({key: result[key] for key in ("mean", "median", "parts")})
        if options.minutes:
            print(fits(result, options.minutes))


if __name__ == "__main__":
    main()
