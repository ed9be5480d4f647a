"""A student run's averaged weights, and the rate estimate fitted beside them, as one guidance file."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from PIL import Image

import codec
from codec.guidance.files import write
from codec.networks.student import Student, StudentConfig
from training.data import list_pictures, read_picture
from training.device import device_name, weights_below
from training.rate_fit import fit

LONGEST = 640
CARD = """# {name}

{what}

| | |
|---|---|
| parameters | {parameters:.3f} M (float16) |
| configuration | {config} |
| written | {date} |

## How it was trained
{steps} steps in {minutes} minutes on {device};
batch {batch} of {size}x{size} crops from `train/` of COTAM_DATA, folders weighted {weights}.
Teacher: `{tower}`. Attention: Kullback-Leibler divergence to the mean [CLS] attention of its first {layers} blocks. Sensitivity:
squared error of the log of diag(J^T J), J its last tokens by pixels, estimated by {probes} random projections a step.
Nothing below `eval/` was seen.

Rate estimate: fitted to the bits of {fitted} training pictures, each coded with random QP maps by `{codec}`.

## Limits
{limits}
"""


def pictures_for_rate(root: Path, count: int) -> list[np.ndarray]:
    """Every n-th training picture, at most 640 pixels long."""
    paths = list_pictures(root)
    chosen = [read_picture(p) for p in paths[:: max(1, len(paths) // count)][:count]]
    found = []
    for pixels in chosen:
        if pixels is not None:
            image = Image.fromarray(pixels)
            image.thumbnail((LONGEST, LONGEST))
            found.append(np.asarray(image))
    return found


def export_student(run: Path, target: Path, pictures: int, what: str, limits: str) -> dict[str, Any]:
    """Write `target` and its card; returns the metadata."""
    settings: Any = OmegaConf.load(run / "config.yaml")
    state = torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=False)
    config = {str(k): v for k, v in settings.student.items() if k != "_target_"}
    config = {k: list(v) for k, v in config.items()}
    network = Student(StudentConfig(**config))
    network.load_state_dict(weights_below(state["state_dict"], "student."))
    stage = settings.stage
    chosen = pictures_for_rate(Path(settings.data.root), pictures)
    loaded = codec.load(device="cpu")
    arrays = fit(loaded, chosen)
    arrays |= {f"student.{name}": tensor.numpy() for name, tensor in network.state_dict().items()}
    facts = {
        "steps": int(state["global_step"]),
        "minutes": round(float(state["elapsed"]) / 60, 1),
        "device": device_name(),
        "fitted": len(chosen),
        "tower": stage.tower,
        "codec": f"{loaded.backend.checkpoint.name} {loaded.fingerprint}",
    }
    metadata = {"name": target.stem, "config": config, "date": date.today().isoformat(), "training": facts}
    write(target, arrays, metadata)
    card = CARD.format(
        **facts,
        name=target.stem,
        what=what,
        limits=limits,
        date=metadata["date"],
        config=", ".join(f"{k} {v}" for k, v in config.items()),
        parameters=sum(p.numel() for p in network.parameters()) / 1e6,
        batch=settings.data.batch,
        size=settings.data.size,
        weights=", ".join(f"{k} {v}" for k, v in settings.data.weights.items()),
        layers=stage.layers,
        probes=stage.probes,
    )
    target.with_suffix(".md").write_text(card)
    return metadata
