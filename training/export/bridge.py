"""Exports a bridge's run: its averaged weights, bound to their tower and codec."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from codec.networks.adapter import TokenAdapter
from codec.tokens.bridge import save_bridge
from codec.towers import load_tower
from training.device import weights_below
from training.run import read_run
from training.stages.adapter import SHAPE, adapter_config, codec_of


def export_bridge(run: Path, target: Path) -> None:
    """Write a bridge.

    Args:
        run: The folder of the run.
        target: The file.

    Raises:
        UnknownModel: Where the codec's weights are not shipped ones.
    """
    settings, state, facts = read_run(run)
    stage = settings.stage
    tower = load_tower(stage.tower, stage.tower_weights)
    shape = {name: stage[name] for name in SHAPE if name in stage}
    network = TokenAdapter(adapter_config(settings.model.m, tower, shape))
    network.load_state_dict(weights_below(state["state_dict"], "adapter."))
    metadata = {
        "name": target.stem,
        "layer": int(stage.layer),
        "codec": state["codec"],
        # Raises if the codec is no longer shipped: nobody could use the bridge.
        "codec_name": codec_of(state["codec"]),
        "tower": stage.tower,
        "signature": tower.signature,
        "date": date.today().isoformat(),
        "training": facts | {"levels": ", ".join(f"{k} {v}" for k, v in stage.levels.items() if v)},
    }
    save_bridge(target, network, metadata)
