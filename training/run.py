"""What a training run left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from training.device import device_name


def data_weights(data: Any) -> str:
    """The shares of a run's folders, or of its shards, in words, and of crops in other colours; data: its settings."""
    sources = data.get("sources")
    shares = [(s["shards"], s["weight"]) for s in sources] if sources else data["weights"].items()
    recoloured = f", {data['recolour']:.0%} in other colours" if data.get("recolour") else ""
    return ", ".join(f"{name} {share}" for name, share in shares) + recoloured


def read_run(run: Path) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """(settings, the last checkpoint with averaged weights, facts for a card: steps, minutes, device, batch, size, weights)."""
    settings: Any = OmegaConf.load(run / "config.yaml")
    state = torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=False)
    data = settings.data
    facts = {
        "steps": int(state["global_step"]),
        "minutes": round(float(state["elapsed"]) / 60, 1),
        "device": device_name(),
        "batch": data.batch,
        "size": data.size,
        "weights": data_weights(data),
    }
    return settings, state, facts
