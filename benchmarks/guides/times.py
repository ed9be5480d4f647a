"""Time of encoding with each guide: `python -m benchmarks.guides.times --out FILE`.

A photograph of 768x512 at quality 50, both backends; medians of alternating calls.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import codec
from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.timing import medians
from benchmarks.speed import SIDES, picture
from codec.evaluation.machine import describe

GUIDES = ("uniform", "student", "local")
BACKENDS: tuple[Literal["torch", "onnx"], ...] = ("torch", "onnx")


def times(rounds: int) -> dict[str, dict[str, float]]:
    """Milliseconds of an encode, by backend and guide."""
    pixels = picture(*SIDES)
    found: dict[str, dict[str, float]] = {}
    for backend in BACKENDS:
        cotam = codec.load(device="cpu", backend=backend)
        calls: dict[str, Callable[[], Any]] = {
            guide: partial(cotam.encode, pixels, tool="learned", quality=50, guide=guide)
            for guide in GUIDES
        }
        found[backend] = medians(calls, rounds)
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=25)
    add_options(parser)
    options = parser.parse_args()
    result = {"machine": describe(), "milliseconds": times(options.rounds)}
    if not hand_over(result, options):
        for backend, spent in result["milliseconds"].items():
            print(backend, ", ".join(f"{name} {value:.0f} ms" for name, value in spent.items()))


if __name__ == "__main__":
    main()
