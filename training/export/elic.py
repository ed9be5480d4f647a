"""Exports the training run of ELIC with gains (learned step sizes per QP)."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from codec.evaluation.codecs.elic_base import NOT_PORTABLE, GainedElic, save_elic
from training.device import weights_below
from training.run import read_run


def export_elic(run: Path, target: Path) -> None:
    """Write the averaged weights of a run.

    Args:
        run: The folder of the run.
        target: The file.
    """
    settings, state, facts = read_run(run)
    network = GainedElic(settings.stage.n, settings.stage.m)
    stored = weights_below(state["state_dict"], "network.")
    network.load_state_dict(
        {name: stored[name] for name in dict(network.named_parameters())}, strict=False
    )
    metadata = {"training": facts, "date": date.today().isoformat(), "note": NOT_PORTABLE}
    save_elic(target, network, metadata)
