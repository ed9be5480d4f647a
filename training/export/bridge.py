"""Exports the training run of a bridge: averaged weights, bound to one tower and one codec."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from codec.tokens.bridge import save_bridge
from training.export.adapter import read_trained
from training.stages.adapter import codec_of


def export_bridge(run: Path, target: Path) -> None:
    """Write a bridge.

    Args:
        run: The folder of the run.
        target: The file.

    Raises:
        UnknownModel: The codec's weights are not among those that ship.
    """
    trained = read_trained(run)
    stage = trained.settings.stage
    codec = trained.state["codec"]
    metadata = {
        "name": target.stem,
        "layer": int(stage.layer),
        "codec": codec,
        # Raises if the codec is no longer shipped: the bridge would be useless.
        "codec_name": codec_of(codec),
        "tower": stage.tower,
        "signature": trained.tower.signature,
        "date": date.today().isoformat(),
        "training": trained.facts
        | {"levels": ", ".join(f"{k} {v}" for k, v in stage.levels.items() if v)},
    }
    save_bridge(target, trained.network, metadata)
