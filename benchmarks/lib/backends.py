"""Times the same codec with PyTorch and with exported graphs.

Part of `python -m benchmarks.speed --backends torch,onnx,onnx-int8`. Every backend runs in its own
process, because two thread pools in one process would slow each other down. The processes run one
after the other, in several rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import codec
from benchmarks.lib.timing import command, medians
from codec.backends import THREADS
from codec.evaluation.distortion import psnr
from codec.evaluation.judges import read_pixels
from codec.weights import checkpoint

BACKENDS = ("torch", "onnx", "onnx-int8")
# How often each process runs; results are medians.
TURNS = 3
COMMAND_ROUNDS = 5
WAYS = ("encode", "decode")


def milliseconds(
    halves: tuple[str, str], source: Path, quality: float, rounds: int
) -> dict[str, Any]:
    """Time one backend in this process.

    Args:
        halves: weights or folders to encode with and to decode with.
        source: a picture file.
        quality: 0..100.
        rounds: how often encode and decode are timed.

    Returns:
        encode and decode: median milliseconds; bytes and psnr of the file.
    """
    encoder = codec.load(halves[0], "cpu")
    decoder = codec.load(halves[1], "cpu") if halves[1] != halves[0] else encoder
    pixels = read_pixels(source)
    data = encoder.encode(pixels, tool="learned", quality=quality)
    facts: dict[str, Any] = medians(
        {
            "encode": lambda: encoder.encode(pixels, tool="learned", quality=quality),
            "decode": lambda: decoder.decode(data, output="array"),
        },
        rounds,
    )
    return facts | {"bytes": len(data), "psnr": psnr(pixels, decoder.decode(data, output="array"))}


def exported(names: list[str], pictures: Path | None, folder: Path) -> dict[str, tuple[str, str]]:
    """Export the graphs that backends need.

    Args:
        names: names from BACKENDS.
        pictures: calibration pictures of onnx-int8.
        folder: where graphs are written.

    Returns:
        Backend -> weights or folder to encode with, and to decode with.
    """
    from codec.export.onnx import export
    from codec.io.folders import pictures_at

    halves = {"torch": ("default", "default")}
    for name in names:
        if name != "torch":
            ranges = pictures_at(pictures) if name == "onnx-int8" and pictures else None
            export(checkpoint.load("default"), folder / name, ranges)
            halves[name] = str(folder / name / "encoder"), str(folder / name / "decoder")
    return {name: halves[name] for name in names}


def compared(
    names: list[str], source: Path, threads: int, quality: float, rounds: int, pictures: Path | None
) -> dict[str, Any]:
    """Time backends in alternating processes.

    Args:
        names: names from BACKENDS.
        source: a picture file.
        threads: number of threads of each backend.
        quality: 0..100.
        rounds: how often encode and decode are timed in a process.
        pictures: calibration pictures of onnx-int8.

    Returns:
        Backend -> milliseconds, bytes, PSNR, ratio to torch's time, and the exported command's
        seconds and peak memory.
    """
    environment = os.environ | {THREADS: str(threads), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        halves = exported(names, pictures, Path(folder))
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(TURNS):
            for name in names:
                arguments = [*halves[name], str(source), str(quality), str(rounds)]
                turns[name].append(_in_own_process(arguments, environment))
        backends = {
            name: {key: median(turn[key] for turn in values) for key in values[0]}
            for name, values in turns.items()
        }
        for name, facts in backends.items():
            if "torch" in backends:
                torch_facts = backends["torch"]
                facts["times_torch"] = {way: facts[way] / torch_facts[way] for way in WAYS}
            if name != "torch":
                graphs = environment | {"COTAM_GRAPHS": str(Path(folder) / name)}
                facts |= _commands(source, Path(folder), graphs)
    return backends


def _in_own_process(arguments: list[str], environment: dict[str, str]) -> dict[str, Any]:
    run = [sys.executable, "-m", "benchmarks.lib.backends", *arguments]
    done = subprocess.run(run, env=environment, capture_output=True, check=True)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def _commands(source: Path, folder: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Seconds and peak memory of both commands."""
    coded = str(folder / "coded.ctm")
    encoding = ["encode", str(source), "-o", coded]
    decoding = ["decode", coded, "-o", str(folder / "out.png")]
    return {
        "command_encode": command(encoding, COMMAND_ROUNDS, environment),
        "command_decode": command(decoding, COMMAND_ROUNDS, environment),
    }


def main() -> None:
    """Command line of a process: time one backend and print JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("encoder")
    parser.add_argument("decoder")
    parser.add_argument("picture", type=Path)
    parser.add_argument("quality", type=float)
    parser.add_argument("rounds", type=int)
    options = parser.parse_args()
    halves = options.encoder, options.decoder
    print(json.dumps(milliseconds(halves, options.picture, options.quality, options.rounds)))


if __name__ == "__main__":
    main()
