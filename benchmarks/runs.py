"""The log of training runs: `python -m benchmarks.runs NAME "what was tried"`.

It adds a line about shipped weights, with their results from rd.json and tasks.json.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks.lib.markdown import load
from benchmarks.tables import RUNS
from codec.weights import checkpoint


def total(training: dict[str, Any] | None, key: str) -> float:
    """The sum of a number over a run and all earlier runs that it started from."""
    return training[key] + total(training.get("before"), key) if training else 0


def entry(name: str, what: str) -> dict[str, Any]:
    """Make a line of the log.

    Args:
        name: name of the weights.
        what: what was tried, in words.

    Returns:
        Facts from the checkpoint's metadata, and its measured points.

    Raises:
        SystemExit: rd.json was measured with other weights.
    """
    loaded = checkpoint.load(name)
    rd = load("rd")
    facts_of = rd["weights"].get(name)
    fingerprint = loaded.fingerprint.hex()
    if facts_of is None or facts_of["fingerprint"] != fingerprint:
        raise SystemExit(
            f"rd.json was not measured with {name} {fingerprint}; run benchmarks.rd first"
        )
    training = loaded.metadata["training"]
    return {
        "name": name,
        "what": what,
        "date": loaded.metadata["date"],
        "fingerprint": fingerprint,
        "steps": total(training, "steps"),
        "minutes": total(training, "minutes"),
        "device": training["device"],
        "bd_rate_psnr": facts_of["bd_rate_psnr"],
        "kodak": [[p["bpp"], p["psnr"]] for p in rd["curves"][f"CoTAM {name}"]],
        "tasks": task_points(name, fingerprint),
    }


def task_points(name: str, fingerprint: str) -> list[list[float]]:
    """Points of the weights in tasks.json, with uniform steps.

    Args:
        name: name of the weights.
        fingerprint: fingerprint of the weights in hexadecimal.

    Returns:
        [bpp, squared error of DeiT-Tiny's last tokens, its top-1] at each quality; empty if
        tasks.json was measured with other weights.
    """
    tasks = load("tasks_tiny" if name == "tiny" else "tasks")
    system = {
        tasks["fingerprint"]: "uniform",
        (tasks["base"] or {}).get("fingerprint"): "base-uniform",
    }.get(fingerprint)
    points = tasks["curves"]["deit"].get(system, []) if system else []
    return [[p["bpp"], p["token_mse_last"], p["top1"]] for p in points]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("what")
    options = parser.parse_args()
    runs = json.loads(RUNS.read_text()) if RUNS.exists() else []
    fingerprint = checkpoint.load(options.name).fingerprint.hex()
    runs = [run for run in runs if run["fingerprint"] != fingerprint]
    RUNS.write_text(json.dumps([*runs, entry(options.name, options.what)], indent=1) + "\n")


if __name__ == "__main__":
    main()
