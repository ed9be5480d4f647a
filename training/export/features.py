"""Exports the training run of a feature network."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import codec
from codec.tuning.features import FeatureConfig, FeatureNetwork
from codec.tuning.shipped import FORMAT
from codec.weights import safetensors_file
from training.device import weights_below
from training.run import read_run

CARD = """# {name}

{what}

| | |
|---|---|
| parameters | {parameters:.3f} M (float16) |
| serves | `{fingerprint}` |
| configuration | {config} |
| written | {date} |

## How it was trained
- Length: {steps} steps in {minutes} minutes on {device}, from random weights.
- Data: batches of {batch} views of {size}x{size} pixels, each with coded versions of the same \
view at random qualities, of pictures from `train/` of COTAM_DATA ({weights}).
- Every twelfth picture was held out, and nothing below `eval/` was used.
- Teacher: the first {depth} blocks of `{tower}`.
- In the first {forced:.0%} of the run each block learned from the teacher's own inputs, then from \
the output of the blocks before it.

## Limits
{limits}
"""


def export_features(source: Path, target: Path, what: str, limits: str) -> dict[str, Any]:
    """Write a feature network and its card.

    Args:
        source: A run.
        target: The file. The card has the same name with the suffix .md.
        what: The card's first sentence.
        limits: The card's last section.

    Returns:
        The metadata of the file.
    """
    settings, state, facts = read_run(source)
    sizes = settings.features
    config = FeatureConfig(**{k: v for k, v in sizes.items() if k != "_target_"})
    network = FeatureNetwork(config)
    network.load_state_dict(weights_below(state["state_dict"], "network."))
    facts |= {"tower": settings.tower.name, "forced": float(settings.stage.forced)}
    fields = asdict(config)
    metadata = {
        "name": target.stem,
        "fingerprint": codec.load(device="cpu").fingerprint,
        "config": fields,
        "date": date.today().isoformat(),
        "training": facts,
    }
    arrays = {name: tensor.float().numpy() for name, tensor in network.state_dict().items()}
    safetensors_file.write(target, FORMAT, arrays, metadata)
    card = CARD.format(
        **facts,
        depth=config.depth,
        name=target.stem,
        fingerprint=metadata["fingerprint"],
        what=what,
        limits=limits,
        date=metadata["date"],
        config=", ".join(f"{k} {v}" for k, v in fields.items()),
        parameters=sum(p.numel() for p in network.parameters()) / 1e6,
    )
    target.with_suffix(".md").write_text(card)
    return metadata
