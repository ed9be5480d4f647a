"""The log of training runs: `python -m benchmarks.runs NAME "what was tried"` adds weights and their rd.json to it."""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks.tables import RUNS, load
from codec import checkpoint


def total(training: dict[str, Any] | None, key: str) -> float:
    """Over a run and all that it started from."""
    return training[key] + total(training.get("before"), key) if training else 0


def entry(name: str, what: str) -> dict[str, Any]:
    """Facts from the checkpoint's metadata and its measured points. Raises SystemExit if rd.json is of other weights."""
    loaded, rd = checkpoint.load(name), load("rd")
    facts_of, fingerprint = rd["weights"].get(name), loaded.fingerprint.hex()
    if facts_of is None or facts_of["fingerprint"] != fingerprint:
        raise SystemExit(f"rd.json was not measured with {name} {fingerprint}; run benchmarks.rd first")
    training = loaded.metadata["training"]
    points = [[p["bpp"], p["psnr"]] for p in rd["curves"][f"CoTAM {name}"]]
    facts = {key: total(training, key) for key in ("steps", "minutes")} | {"device": training["device"]}
    return (
        {"name": name, "what": what, "date": loaded.metadata["date"], "fingerprint": fingerprint}
        | facts
        | {
            "bd_rate_psnr": facts_of["bd_rate_psnr"],
            "kodak": points,
        }
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("what")
    options = parser.parse_args()
    runs = json.loads(RUNS.read_text()) if RUNS.exists() else []
    runs = [run for run in runs if run["fingerprint"] != checkpoint.load(options.name).fingerprint.hex()]
    RUNS.write_text(json.dumps([*runs, entry(options.name, options.what)], indent=1) + "\n")


if __name__ == "__main__":
    main()
