"""How fast and how large CoTAM is on a user's machine: `python -m benchmarks.install.speed --json`.

::

    whole commands -> seconds, peak memory
    encode, decode by backend and by checkout, one process each -> milliseconds by stage
    the same beside two busy processes, and AVIF -> slowdown
    a folder of pictures -> pictures per second

`--before DIR` measures another checkout of this repository in the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.timing import command
from codec.evaluation.judges import data_root
from codec.evaluation.machine import describe

ROOT = Path(__file__).resolve().parents[2]
SIZE = (768, 512)
ROUNDS = 7
FOLDER_COUNT = 200
THREADS = 2
# Runs in a new process with the `codec` of a checkout; arguments: the backend, a picture, and the
# number of busy processes beside it.
PROBE = """
import io, json, subprocess, sys, time
backend, path, busy = sys.argv[1], sys.argv[2], int(sys.argv[3])
if backend == "torch":
    import torch
import numpy as np
from PIL import Image
import codec
options = {"backend": backend} if "backend" in codec.load.__annotations__ else {}
cotam = codec.load(**options)
image = Image.open(path).convert("RGB")
pixels = np.asarray(image)
file = cotam.encode(pixels, tool="learned")
def avif():
    stream = io.BytesIO()
    image.save(stream, "AVIF", speed=6)
    return stream.getvalue()
coded = avif()
calls = {
    "encode": lambda: cotam.encode_full(pixels, tool="learned").seconds,
    "decode": lambda: cotam.decode_full(file).seconds,
    "avif encode": lambda: avif() and {},
    "avif decode": lambda: np.asarray(Image.open(io.BytesIO(coded)).convert("RGB")) is None or {},
}
def medians(rounds):
    times = {name: [] for name in calls}
    stages = {name: [] for name in calls}
    for index in range(rounds + 2):
        for name, call in calls.items():
            start = time.perf_counter()
            result = call()
            if index > 1:
                times[name].append(1000 * (time.perf_counter() - start))
                stages[name].append(result if isinstance(result, dict) else {})
    middle = rounds // 2
    out = {name: {"total": sorted(values)[middle]} for name, values in times.items()}
    for name, rows in stages.items():
        for stage in rows[0]:
            out[name][stage] = 1000 * sorted(row[stage] for row in rows)[middle]
    return out
result = {"alone": medians(ROUNDS)}
if busy:
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    time.sleep(0.5)
    try:
        result["busy"] = medians(ROUNDS)
    finally:
        for other in others:
            other.kill()
print(json.dumps(result))
"""


def environment(checkout: Path) -> dict[str, str]:
    """Of a process that imports `codec` from a checkout."""
    return os.environ | {"PYTHONPATH": str(checkout)}


def probed(checkout: Path, backend: str, picture: Path) -> dict[str, Any]:
    """Milliseconds of encode and decode, alone and beside busy processes."""
    script = PROBE.replace("ROUNDS", str(ROUNDS))
    done = subprocess.run(
        [sys.executable, "-c", script, backend, str(picture), str(THREADS)],
        env=environment(checkout),
        capture_output=True,
        text=True,
        check=True,
    )
    outcome: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    alone, busy = outcome["alone"], outcome["busy"]
    slower = {name: busy[name]["total"] / alone[name]["total"] for name in alone}
    outcome["slowdown_to_avif"] = {
        way: slower[way] / slower[f"avif {way}"] for way in ("encode", "decode")
    }
    return outcome


def per_second(checkout: Path, folder: Path) -> float:
    """Pictures per second of `cotam encode FOLDER`, start included."""
    with tempfile.TemporaryDirectory() as out:
        command = [sys.executable, "-m", "codec.cli", "encode", str(folder), "-o", f"{out}/out"]
        start = time.perf_counter()
        subprocess.run(
            command, env=environment(checkout), check=True, stdout=subprocess.DEVNULL, cwd=out
        )
        return FOLDER_COUNT / (time.perf_counter() - start)


def pictures_into(folder: Path) -> None:
    """FOLDER_COUNT pictures of SIZE, crops of the Kodak pictures."""
    sources = sorted((data_root() / "eval" / "kodak").iterdir())
    for index in range(FOLDER_COUNT):
        with Image.open(sources[index % len(sources)]) as image:
            picture = image.convert("RGB")
        if picture.width < picture.height:
            picture = picture.rotate(90, expand=True)
        shift = index // len(sources)
        box = (shift, shift, picture.width - 8 + shift, picture.height - 8 + shift)
        picture.resize(SIZE, box=box).save(folder / f"{index:03d}.png", compress_level=3)


def run(before: Path | None) -> dict[str, Any]:
    """Measure everything.

    Args:
        before: another checkout; None for none.

    Returns:
        The result.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures = folder / "pictures"
        pictures.mkdir()
        pictures_into(pictures)
        photo = folder / "photo.png"
        shutil.copy(pictures / "000.png", photo)
        file = photo.with_suffix(".ctm")
        commands = {
            "encode": command(["encode", str(photo), "-o", str(file)], ROUNDS),
            "decode": command(["decode", str(file), "-o", str(photo)], ROUNDS),
            "info": command(["info", str(file)], ROUNDS),
        }
        systems = {"onnx": (ROOT, "onnx"), "torch": (ROOT, "torch")}
        checkouts = {"now": ROOT}
        if before is not None:
            systems["before, torch"] = (before, "torch")
            checkouts["before"] = before
        return {
            "machine": describe(),
            "size": SIZE,
            "commands": commands,
            "backends": {key: probed(*where, photo) for key, where in systems.items()},
            "folder": {key: per_second(where, pictures) for key, where in checkouts.items()},
            "folder_pictures": FOLDER_COUNT,
        }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, help="another checkout of this repository")
    add_options(parser)
    options = parser.parse_args()
    result = run(options.before)
    if not hand_over(result, options):
        print(json.dumps({key: result[key] for key in result if key != "machine"}, indent=1))


if __name__ == "__main__":
    main()
