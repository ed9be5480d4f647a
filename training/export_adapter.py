"""An adapter run's averaged weights as a file of checkpoints/adapters/, bound to its tower and its codec."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from codec import checkpoint
from codec.networks.adapter import AdapterConfig, TokenAdapter
from codec.receivers.adapters import save_adapter
from codec.towers import load_tower
from training.card import optimizer_name
from training.device import weights_below
from training.run import read_run

CARD = """# {name}

{what}

| | |
|---|---|
| tower | {tower} (`{signature}`) |
| codec | {codec_name} `{codec}` |
| parameters | {parameters:.3f} M (float16) |
| configuration | {config} |
| written | {date} |

## How it was trained
{steps} steps in {minutes} minutes on {device}; the codec and the tower are frozen;
batch {batch} of {size}x{size} crops from `train/` of COTAM_DATA, folders weighted {weights}{replayed}.
Loss: the squared error of the tower's tokens over their variance, levels {levels}{tilted}. {optimizer}, {rate}, cosine to 1 %;
what is shipped is the average of the weights over about {average:.0f} steps. {start}Nothing below `eval/` was seen.

## Limits
{limits}
"""


def _start(before: Sequence[Path]) -> str:
    """What the runs before did, latest first."""
    spent = [read_run(run)[2] for run in before]
    return "".join(f"It went on from {facts['steps']} steps in {facts['minutes']} minutes. " for facts in spent)


def _how(stage: Any, before: Sequence[Path]) -> dict[str, str]:
    """What a run of the stage does beyond the plain loss of fresh crops, in words."""
    replays, tilt = stage.get("replays", 0), stage.get("tilt", 0.0)
    return {
        "replayed": f"; each batch is followed by {replays} of earlier ones" if replays else "",
        "tilted": f", a picture's weighted by exp({tilt} t), t = -1.8..1.8 over the QPs" if tilt else "",
        "start": _start(before),
    }


def export_adapter(run: Path, target: Path, what: str, limits: str, before: Sequence[Path] = ()) -> dict[str, Any]:
    """Write `target` and its card; returns the metadata. before: the runs that this one went on from, latest first.

    Raises ValueError where the codec's weights are not shipped ones.
    """
    settings, state, facts = read_run(run)
    codec_name = checkpoint.by_fingerprint(bytes.fromhex(state["codec"]))
    if codec_name is None:
        raise ValueError(f"the adapter was trained for the weights {state['codec']}, which are not shipped any more")
    stage = settings.stage
    tower = load_tower(stage.tower, stage.tower_weights)
    shape = {name: stage[name] for name in ("inner", "heads", "blocks", "sees") if name in stage}
    config = AdapterConfig(settings.model.m, tower.width, *tower.grid, tower.prefix, **shape)
    network = TokenAdapter(config)
    network.load_state_dict(weights_below(state["state_dict"], "adapter."))
    training = facts | {
        "levels": ", ".join(f"{k} {v}" for k, v in stage.levels.items()),
        "rate": stage.learning_rate,
        "average": 1 / (1 - settings.ema),
        "optimizer": optimizer_name(settings),
    }
    training |= _how(stage, before)
    metadata = {"name": target.stem, "config": asdict(config), "codec": state["codec"], "codec_name": codec_name}
    metadata |= {"tower": stage.tower, "signature": tower.signature, "date": date.today().isoformat(), "training": training}
    save_adapter(target, network, metadata)
    described = metadata | training | {"config": ", ".join(f"{k} {v}" for k, v in asdict(config).items())}
    parameters = sum(p.numel() for p in network.parameters()) / 1e6
    target.with_suffix(".md").write_text(CARD.format(**described, parameters=parameters, what=what, limits=limits))
    return metadata
