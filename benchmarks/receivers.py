"""Receivers compared: `python -m benchmarks.receivers BRIDGE --out FILE`.

::

    file -> pixels -------------------------------> DeiT-Tiny -> last tokens
         -> pixels, latents -> adapter -----------> DeiT-Tiny -> last tokens
         -> latents -> bridge -> later blocks of -> DeiT-Tiny -> last tokens

Measures the error of the last tokens on eval/imagenet, and the time from a file of 768x512 to them.
BRIDGE is the exported file of a run of experiment=bridge.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor

import codec
from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.timing import medians
from benchmarks.speed import SIDES, picture
from codec.evaluation.judges import data_root, read_pixels, spread
from codec.evaluation.judges.deit import DeitJudge
from codec.evaluation.machine import describe
from codec.tokens.bridge import Bridge, bridged, load_bridge
from codec.towers import LAST

QUALITIES = (10.0, 30.0, 60.0)
TIMED_QUALITY = 50.0


class Receivers:
    """All ways from a file to the tower's last tokens.

    Args:
        cotam: the codec.
        judge: has the tower and its view of a picture.
        bridge: of this codec and this tower.
    """

    def __init__(self, cotam: codec.Codec, judge: DeitJudge, bridge: Bridge) -> None:
        self.cotam = cotam
        self.judge = judge
        self.bridge = bridge

    def ways(self) -> dict[str, Callable[[bytes], Tensor]]:
        """By name: a function from a file to the last tokens [1, tokens, width]."""
        return {"pixels": self.by_pixels, "adapter": self.by_adapter, "bridge": self.by_bridge}

    def by_pixels(self, data: bytes) -> Tensor:
        """The tokens of the decoded pixels."""
        return self.judge.tokens(self.cotam.decode(data, output="array"))[LAST]

    @torch.inference_mode()
    def by_adapter(self, data: bytes) -> Tensor:
        """The tokens of the decoded pixels, repaired from the latents."""
        embedding, repairs = self.judge.repaired(self.cotam, data)
        return self.judge.tower.continued(embedding, [LAST], repairs=repairs)[LAST]

    def by_bridge(self, data: bytes) -> Tensor:
        """The tokens of the latents."""
        about = codec.inspect(data)
        box = self.judge.box(about.height, about.width)
        return bridged(self.cotam, data, self.judge.tower, self.bridge, LAST, box)


def errors(receivers: Receivers, limit: int) -> dict[str, dict[str, dict[str, float]]]:
    """Errors of the last tokens, relative to their variance over the tokens of a picture.

    Args:
        receivers: the ways to compare.
        limit: number of pictures, evenly spaced.

    Returns:
        Quality -> way -> mean over the pictures, and its standard error.
    """
    found: dict[tuple[float, str], list[float]] = {}
    for sample in track(spread(receivers.judge.pictures(), limit), "pictures"):
        pixels = read_pixels(sample.path)
        wanted = receivers.judge.tokens(pixels)[LAST]
        scale = float((wanted - wanted.mean(1, keepdim=True)).square().mean())
        for quality in QUALITIES:
            data = receivers.cotam.encode(pixels, tool="learned", quality=quality)
            for name, way in receivers.ways().items():
                error = float((way(data) - wanted).square().mean()) / scale
                found.setdefault((quality, name), []).append(error)
    return {
        f"{quality:g}": {name: _mean(np.array(found[quality, name])) for name in receivers.ways()}
        for quality in QUALITIES
    }


def _mean(values: NDArray[Any]) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "standard_error": float(values.std() / np.sqrt(len(values))),
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bridge", type=Path, metavar="BRIDGE")
    parser.add_argument("--model", default="default")
    parser.add_argument("--limit", type=int, default=100, help="pictures, evenly spaced")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    add_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    bridge = load_bridge(options.bridge)
    cotam = codec.load(options.model, "cpu")
    receivers = Receivers(cotam, DeitJudge(data_root()), bridge)
    data = cotam.encode(picture(*SIDES), tool="learned", quality=TIMED_QUALITY)
    calls: dict[str, Callable[[], Any]] = {
        name: partial(way, data) for name, way in receivers.ways().items()
    }
    result = {
        "model": cotam.backend.checkpoint.name,
        "fingerprint": cotam.fingerprint,
        "machine": describe(options.threads),
        "bridge": bridge.metadata,
        "milliseconds": medians(calls, options.rounds),
        "pictures": options.limit,
        "errors": errors(receivers, options.limit),
    }
    if not hand_over(result, options):
        for name, value in result["milliseconds"].items():
            means = (f"{one[name]['mean']:.3f}" for one in result["errors"].values())
            print(f"{name:10}{value:6.0f} ms, error {', '.join(means)}")


if __name__ == "__main__":
    main()
