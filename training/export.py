"""A training run's weights as a file: `python -m training.export RUN_DIR checkpoints/NAME.safetensors`.

In place of a student's run, a student's file: what is fitted beside its weights is then fitted anew.
"""

from __future__ import annotations

import argparse
import os
from datetime import date
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from codec.checkpoint import Checkpoint, load, save
from codec.networks.config import ModelConfig
from codec.networks.integer import EXACT_LIMIT
from codec.networks.model import Networks
from codec.networks.weights import bounds
from training.card import render
from training.device import device_name, weights_below
from training.export_student import export_student
from training.validation import DEFAULT_SKIP, make_checkpoint


def load_run(run: Path) -> tuple[Networks, dict[str, Any]]:
    """The averaged weights of a run's last checkpoint, and what is known of the run."""
    settings = OmegaConf.load(run / "config.yaml")
    state = torch.load(run / "checkpoints" / "last.ckpt", map_location="cpu", weights_only=False)
    fields = {k: v for k, v in settings.model.items() if k != "_target_"}
    networks = Networks(ModelConfig(**fields))
    networks.load_state_dict(weights_below(state["state_dict"], "networks."))
    facts = {
        "steps": int(state["global_step"]),
        "minutes": round(float(state["elapsed"]) / 60, 1),
        "settings": OmegaConf.to_container(settings, resolve=True),
    }
    return networks.eval(), facts


def export(run: Path, target: Path, skip_below: int, pictures: int, before: Path | None = None) -> Checkpoint:
    """Fit the frozen tables, prove the bounds, write the checkpoint.

    before: the run, or its exported weights, that this one started from.
    Raises ValueError if a bound does not hold.
    """
    networks, facts = load_run(run)
    earlier = None
    if before:
        earlier = load(before).metadata["training"] if before.suffix == ".safetensors" else load_run(before)[1]
    proved = bounds(networks)
    if max(proved.values()) >= EXACT_LIMIT:
        raise ValueError(f"a partial sum could reach 2^24: {proved}")
    settings = facts["settings"]
    made = make_checkpoint(networks, target.stem, Path(settings["data"]["root"]), pictures, skip_below)
    for known in (facts, earlier):
        if known:
            known["settings"]["data"]["root"] = "COTAM_DATA/train"
            for place in ("run_dir", "resume", "start", "validation", "logger"):
                known["settings"].pop(place, None)
    metadata = made.metadata | {
        "bounds": {"largest": max(proved.values()), "limit": EXACT_LIMIT, "layers": proved},
        "training": facts | {"table_pictures": pictures, "device": device_name(), "before": earlier},
        "date": date.today().isoformat(),
    }
    checkpoint = Checkpoint(made.arrays, metadata)
    save(checkpoint, target)
    return checkpoint


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("target", type=Path)
    root = Path(os.environ.get("COTAM_DATA", "../shared/data")) / "train"
    parser.add_argument("--root", type=Path, default=root, help="the training pictures a student is fitted to")
    parser.add_argument("--skip-below", type=int, default=DEFAULT_SKIP, help="scale indexes below this are not coded")
    parser.add_argument("--pictures", type=int, default=60, help="training pictures the tables are fitted on")
    parser.add_argument("--before", type=Path, default=None, help="the run, or its exported weights, that this one started from")
    parser.add_argument("--what", default="Weights of the base stage: rate + MSE.", help="the card's first sentence")
    parser.add_argument("--limits", default="Trained for a short time on few pictures.", help="the card's last section")
    options = parser.parse_args()
    if options.run.is_file() or "student" in OmegaConf.load(options.run / "config.yaml").stage:
        export_student(options.run, options.root, options.target, options.pictures, options.what, options.limits)
        print(f"{options.target}: {options.target.stat().st_size} bytes")
        return
    checkpoint = export(options.run, options.target, options.skip_below, options.pictures, options.before)
    options.target.with_suffix(".md").write_text(render(checkpoint, options.what, options.limits))
    print(f"{options.target}: fingerprint {checkpoint.fingerprint.hex()}, {options.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
