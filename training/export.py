"""A training run's weights as a checkpoint file: `python -m training.export RUN_DIR checkpoints/NAME.safetensors`."""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from codec.checkpoint import Checkpoint, save
from codec.networks.config import ModelConfig
from codec.networks.integer import EXACT_LIMIT
from codec.networks.model import Networks
from codec.networks.weights import bounds, to_arrays
from training.tables import fit_tables


def load_run(run: Path) -> tuple[Networks, dict[str, Any]]:
    """The averaged weights of a run's last checkpoint, and what is known of the run."""
    settings = OmegaConf.load(run / "config.yaml")
    state = torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=False)
    fields = {k: v for k, v in settings.model.items() if k != "_target_"}
    networks = Networks(ModelConfig(**fields))
    networks.load_state_dict(_below(state["state_dict"], "networks."))
    facts = {
        "steps": int(state["global_step"]),
        "minutes": round(float(state["elapsed"]) / 60, 1),
        "settings": OmegaConf.to_container(settings, resolve=True),
    }
    return networks.eval(), facts


def _below(weights: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def export(run: Path, target: Path, skip_below: int, pictures: int) -> Checkpoint:
    """Fit the frozen tables, prove the bounds, write the checkpoint. Raises ValueError if a bound does not hold."""
    networks, facts = load_run(run)
    proved = bounds(networks)
    if max(proved.values()) >= EXACT_LIMIT:
        raise ValueError(f"a partial sum could reach 2^24: {proved}")
    root = Path(facts["settings"]["data"]["root"])
    frequencies, lengths = fit_tables(networks, root, pictures)
    arrays = to_arrays(networks) | {"tables.frequencies": frequencies, "tables.lengths": lengths.astype(np.int32)}
    facts["settings"]["data"]["root"] = "COTAM_DATA/train"
    facts["settings"].pop("run_dir", None)
    metadata = {
        "name": target.stem,
        "config": networks.config.to_dict(),
        "skip_below": skip_below,
        "bounds": {"largest": max(proved.values()), "limit": EXACT_LIMIT, "layers": proved},
        "training": facts,
        "date": date.today().isoformat(),
    }
    checkpoint = Checkpoint(arrays, metadata)
    save(checkpoint, target)
    return checkpoint


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--skip-below", type=int, default=3, help="scale indexes below this are not coded")
    parser.add_argument("--pictures", type=int, default=60, help="training pictures the tables are fitted on")
    options = parser.parse_args()
    checkpoint = export(options.run, options.target, options.skip_below, options.pictures)
    print(f"{options.target}: fingerprint {checkpoint.fingerprint.hex()}, {options.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
