"""The same codec by PyTorch and by exported graphs, part of `python -m benchmarks.speed --backends torch,onnx,onnx-int8`.

Every backend has a process of its own, since two thread pools in one would wait for each other; the processes take turns, medians.
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
from codec.backends.onnx import THREADS
from codec.evaluation.judges import read_pixels
from codec.evaluation.rivals import psnr
from codec.weights import checkpoint

BACKENDS = ("torch", "onnx", "onnx-int8")
TURNS = 3


def milliseconds(
    halves: tuple[str, str], source: Path, quality: float, rounds: int
) -> dict[str, Any]:
    """In this process: medians of encode and decode, and the last file and its PSNR."""
    encoder = codec.load(halves[0], "cpu")
    decoder = codec.load(halves[1], "cpu") if halves[1] != halves[0] else encoder
    pixels = read_pixels(source)
    data = encoder.encode(pixels, quality)
    found: dict[str, Any] = medians(
        {
            "encode": lambda: encoder.encode(pixels, quality),
            "decode": lambda: decoder.decode(data, "array"),
        },
        rounds,
    )
    return found | {"bytes": len(data), "psnr": psnr(pixels, decoder.decode(data, "array"))}


def exported(names: list[str], pictures: Path | None, folder: Path) -> dict[str, tuple[str, str]]:
    """backend -> (weights or folder to encode with, to decode with)."""
    from codec.export.onnx import export
    from codec.io.folders import pictures_at

    found = {"torch": ("default", "default")}
    for name in names:
        if name != "torch":
            ranges = pictures_at(pictures) if name == "onnx-int8" and pictures else None
            export(checkpoint.load("default"), folder / name, ranges)
            found[name] = str(folder / name / "encoder"), str(folder / name / "decoder")
    return {name: found[name] for name in names}


def compared(
    names: list[str], source: Path, threads: int, quality: float, rounds: int, pictures: Path | None
) -> dict[str, Any]:
    """backend -> milliseconds, bytes, PSNR, times as long as torch, and the exported command's seconds and peak memory."""
    environment = os.environ | {THREADS: str(threads), "OMP_NUM_THREADS": str(threads)}
    with tempfile.TemporaryDirectory() as folder:
        places = exported(names, pictures, Path(folder))
        turns: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        for _ in range(TURNS):
            for name, halves in places.items():
                arguments = [*halves, str(source), str(quality), str(rounds)]
                run = [sys.executable, "-m", "benchmarks.lib.backends", *arguments]
                turns[name].append(
                    json.loads(
                        subprocess.run(run, env=environment, capture_output=True, check=True).stdout
                    )
                )
        found = {
            name: {key: median(turn[key] for turn in values) for key in values[0]}
            for name, values in turns.items()
        }
        for name, facts in found.items():
            if "torch" in found:
                facts["times_torch"] = {
                    key: facts[key] / found["torch"][key] for key in ("encode", "decode")
                }
            if name != "torch":
                graphs = environment | {"COTAM_GRAPHS": str(Path(folder) / name)}
                coded = Path(folder) / "coded.ctm"
                facts["command_encode"] = command(
                    ["encode", str(source), "-o", str(coded)], 5, graphs
                )
                facts["command_decode"] = command(
                    ["decode", str(coded), "-o", str(Path(folder) / "out.png")], 5, graphs
                )
    return found


def main() -> None:
    """One backend in one process; JSON on stdout."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("encoder")
    parser.add_argument("decoder")
    parser.add_argument("picture", type=Path)
    parser.add_argument("quality", type=float)
    parser.add_argument("rounds", type=int)
    options = parser.parse_args()
    print(
        json.dumps(
            milliseconds(
                (options.encoder, options.decoder), options.picture, options.quality, options.rounds
            )
        )
    )


if __name__ == "__main__":
    main()
