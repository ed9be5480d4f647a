"""Exports the training run of an encoder: a codec's weights in which only the analysis is new.

The decoder does not change, so files of old and new weights decode with either.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from codec.weights.checkpoint import Checkpoint, load, save
from training.device import weights_below
from training.run import read_run
from training.stages.encoder import ANALYSIS, codec_of

CARD = """# {name}

{what}

| | |
|---|---|
| fingerprint | `{fingerprint}`, that of `{serves}`: each decodes the other's files |
| analysis | {parameters:.2f} M parameters (float16), {blocks} blocks at 1/16 |
| written | {date} |

## How it was trained
- Length: {steps} steps in {minutes} minutes on {device}.
- Data: batches of {batch} crops of {size}x{size} pixels from `train/` of COTAM_DATA ({weights}). \
Every {held_out}th picture was held out, and nothing below `eval/` was used.
- Only the analysis was trained; all other weights are identical to those of `{serves}`.
- Teacher: `{tower}`, layers {levels}.

## Limits
{limits}
"""


def export_encoder(source: Path, target: Path, what: str, limits: str) -> Checkpoint:
    """Write weights with the analysis of a run, and their card.

    Args:
        source: A run.
        target: The file. The card has the same name with the suffix .md.
        what: The card's first sentence.
        limits: The card's last section.

    Returns:
        The checkpoint that was written. It has the fingerprint of the codec that the run was for.

    Raises:
        UnknownModel: That codec is no longer shipped.
    """
    settings, state, facts = read_run(source)
    serves = load(codec_of(state["codec"]))
    analysis = weights_below(state["state_dict"], ANALYSIS)
    arrays = {k: v for k, v in serves.arrays.items() if not k.startswith(ANALYSIS)}
    arrays |= {f"{ANALYSIS}{k}": v.numpy().astype(np.float16) for k, v in analysis.items()}
    blocks = int(settings.stage.blocks_a16)
    facts |= {
        "tower": settings.tower.name,
        "levels": ", ".join(f"{k} ({v:g})" for k, v in settings.stage.levels.items()),
        "held_out": int(settings.data.held_out),
    }
    metadata: dict[str, Any] = serves.metadata | {
        "name": target.stem,
        "config": serves.metadata["config"] | {"blocks_a16": blocks},
        "date": date.today().isoformat(),
        "training": serves.metadata.get("training", {}) | {"encoder": facts},
    }
    checkpoint = Checkpoint(arrays, metadata)
    assert checkpoint.fingerprint == serves.fingerprint
    save(checkpoint, target)
    card = CARD.format(
        **facts,
        name=target.stem,
        serves=serves.name,
        what=what,
        limits=limits,
        blocks=blocks,
        fingerprint=checkpoint.fingerprint.hex(),
        date=metadata["date"],
        parameters=sum(tensor.numel() for tensor in analysis.values()) / 1e6,
    )
    target.with_suffix(".md").write_text(card)
    return checkpoint
