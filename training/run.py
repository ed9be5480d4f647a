"""The files of a training run: their paths, and functions that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from training import CONF_FOLDER
from training.device import device_name

# Path below a run's folder. `state_dict` in this file has the averaged weights.
LAST_CHECKPOINT = Path("checkpoints") / "last.ckpt"
SECONDS_PER_MINUTE = 60


def data_folder() -> Path:
    """The folder of all data: COTAM_DATA, or the default of conf/train.yaml."""
    return Path(OmegaConf.load(CONF_FOLDER / "train.yaml").data_folder)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a run's checkpoint on the CPU, without running any code that it may hold.

    Args:
        path: `last.ckpt` of a run.

    Returns:
        Tensors and plain values, under Lightning's names.
    """
    return torch.load(path, map_location="cpu", weights_only=True)


def data_weights(data: Any) -> str:
    """Describe the mixture of a run's training pictures.

    Args:
        data: The run's data settings: folders with weights, or shards.

    Returns:
        A phrase with the shares of folders or shards, and of crops whose colours were changed.
    """
    sources = data.get("sources")
    shares = [(s["shards"], s["weight"]) for s in sources] if sources else data["weights"].items()
    recoloured = f", {data['recolour']:.0%} in other colours" if data.get("recolour") else ""
    return ", ".join(f"{name} {share}" for name, share in shares) + recoloured


def read_run(run: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """Read a finished or interrupted run.

    Args:
        run: Its folder.

    Returns:
        The settings; the last checkpoint, whose `state_dict` has the averaged weights; and the
        facts for a model card: steps, minutes, device, batch, size, weights.
    """
    settings: Any = OmegaConf.load(run / "config.yaml")
    state = read_checkpoint(run / LAST_CHECKPOINT)
    data = settings.data
    facts = {
        "steps": int(state["global_step"]),
        "minutes": round(float(state["elapsed"]) / SECONDS_PER_MINUTE, 1),
        "device": device_name(),
        "batch": data.batch,
        "size": data.size,
        "weights": data_weights(data),
    }
    return settings, state, facts
