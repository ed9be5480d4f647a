"""Time and memory: in process beside compressai's mbt2018-mean, and as whole processes: `python -m benchmarks.speed --json`.

Protocol: everything warmed up, the systems take turns, medians; ratios are within one run. mbt2018-mean has random weights
(none can be had offline), which changes neither its layers nor its number of symbols.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image
from skimage import data as pictures

import codec
from benchmarks.machine import describe
from benchmarks.output import add_options, hand_over

SIDES = (768, 512)


def picture(width: int, height: int) -> np.ndarray:
    """A real photograph at a given size."""
    return np.asarray(Image.fromarray(pictures.coffee()).resize((width, height), Image.Resampling.LANCZOS))


def mbt2018_mean(pixels: np.ndarray) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """(compress, decompress) of compressai's mbt2018-mean at quality 4."""
    from compressai.zoo import mbt2018_mean as build

    torch.manual_seed(0)
    model = build(4, pretrained=False).eval()
    model.update(force=True)
    x = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        coded = model.compress(x)

    def compress() -> Any:
        with torch.inference_mode():
            return model.compress(x)

    def decompress() -> Any:
        with torch.inference_mode():
            return model.decompress(coded["strings"], coded["shape"])

    return compress, decompress


def in_process(threads: int, rounds: int, quality: float) -> dict[str, Any]:
    """Milliseconds (medians) of encode and decode, by stage, beside mbt2018-mean."""
    torch.set_num_threads(threads)
    pixels = picture(*SIDES)
    cotam = codec.load("default", "cpu")
    encoded = cotam.encode_full(pixels, quality)
    compress, decompress = mbt2018_mean(pixels)
    stages: dict[str, list[dict[str, float]]] = {"encode": [], "decode": []}
    seconds: dict[str, list[float]] = {name: [] for name in ("encode", "decode", "mbt_encode", "mbt_decode")}
    for index in range(rounds + 2):
        for name, call in (("encode", None), ("decode", None), ("mbt_encode", compress), ("mbt_decode", decompress)):
            start = time.perf_counter()
            if name == "encode":
                stages[name].append(cotam.encode_full(pixels, quality).seconds)
            elif name == "decode":
                stages[name].append(cotam.decode_full(encoded.data).seconds)
            elif call is not None:
                call()
            if index >= 2:
                seconds[name].append(time.perf_counter() - start)
    middle = {name: 1000 * median(values) for name, values in seconds.items()}
    split = {n: {k: 1000 * median(r[k] for r in rows[2:]) for k in rows[0]} for n, rows in stages.items()}
    return {
        "size": list(SIDES),
        "quality": quality,
        "bytes": len(encoded.data),
        "milliseconds": middle,
        "stages": split,
        "times_faster": {n: middle[f"mbt_{n}"] / middle[n] for n in ("encode", "decode")},
        "entropy_share": {n: split[n]["entropy"] / middle[n] for n in ("encode", "decode")},
    }


MEASURE = """
import os, subprocess, sys, time
start = time.perf_counter()
process = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
_, status, usage = os.wait4(process.pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status))
"""


def whole_process(width: int, height: int, rounds: int) -> dict[str, float]:
    """`cotam encode` from start to end: median seconds, largest peak memory in MB.

    A small process starts it: a child's peak memory begins with that of the process it was forked from.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "picture.png"
        Image.fromarray(picture(width, height)).save(source)
        command = [sys.executable, "-c", MEASURE, sys.executable, "-m", "codec.cli", "encode", str(source)]
        seconds, peaks = [], []
        for _ in range(rounds + 1):
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            spent, peak, status = done.stdout.split()
            if int(status):
                raise RuntimeError("cotam encode failed")
            seconds.append(float(spent))
            peaks.append(float(peak))
    return {"seconds": median(seconds[1:]), "peak_mb": max(peaks)}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--quality", type=float, default=50)
    add_options(parser)
    options = parser.parse_args()
    result = {
        "machine": describe(options.threads),
        "in_process": in_process(options.threads, options.rounds, options.quality),
        "command_768x512": whole_process(768, 512, 5),
        "command_3840x2160": whole_process(3840, 2160, 2),
    }
    if not hand_over(result, options):
        inside = result["in_process"]
        print("encode / decode, ms:", {k: round(v, 1) for k, v in inside["milliseconds"].items()})
        print("times faster than mbt2018-mean:", {k: round(v, 1) for k, v in inside["times_faster"].items()})
        print("whole command:", result["command_768x512"], result["command_3840x2160"])


if __name__ == "__main__":
    main()
