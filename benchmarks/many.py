"""Many pictures: a run that is killed again and again, and two workers beside one: `python -m benchmarks.many --json`.

Real commands on crops of real photographs (COTAM_DATA/train/photos); SIGKILL reaches the workers, too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import cycle
from pathlib import Path
from typing import Any

from PIL import Image

import codec
from benchmarks.lib.output import add_options, hand_over
from codec.evaluation.judges import data_root, read_pixels
from codec.evaluation.machine import describe

Command = list[str]


def crops(folder: Path, count: int, side: int, seed: int = 0) -> None:
    """PNG files 00000.png, ..., of random places of the photographs."""
    photos = sorted((data_root() / "train" / "photos").glob("*.*"))
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    for number, path in zip(range(count), cycle(photos)):
        photo = Image.fromarray(read_pixels(path))
        left, top = (draw.randint(0, max(0, length - side)) for length in photo.size)
        photo.crop((left, top, left + side, top + side)).save(folder / f"{number:05}.png")


def encode(source: Path, out: Path, workers: int) -> Command:
    """`cotam encode` of a folder; what is there is not done again."""
    return [
        sys.executable,
        "-m",
        "codec.cli",
        "encode",
        str(source),
        "-o",
        str(out),
        "--skip-existing",
        "-j",
        str(workers),
    ]


def seconds(command: Command) -> float:
    """From start to end, one thread a process."""
    start = time.perf_counter()
    subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def killed_at(
    command: Command,
    out: Path,
    moments: Iterable[int],
    patience: float = 120,
    pause: Callable[[], float] = lambda: 0.005,
) -> Iterator[int]:
    """Files in `out` after each kill: the command starts anew and is killed once there are so many, or after `patience` seconds."""
    for moment in moments:
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + patience
        while (
            process.poll() is None
            and len(list(out.glob("*.ctm"))) < moment
            and time.monotonic() < end
        ):
            time.sleep(pause())
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        yield len(list(out.glob("*.ctm")))


def killed(source: Path, folder: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Files of a run killed at random moments, each decoded and compared with those of a run that was never killed."""
    expected = len(list(source.glob("*.png")))
    out = folder / "killed"
    whole = folder / "whole"
    draw = random.Random(seed)
    moments = sorted(draw.sample(range(1, expected), kills))
    for _ in killed_at(encode(source, out, 2), out, moments, 3600, lambda: draw.uniform(0.01, 0.2)):
        pass
    for target in (out, whole):
        seconds(encode(source, target, 2))
    names = sorted(path.name for path in whole.glob("*.ctm"))
    cotam = codec.load("default", "cpu")
    decoded = sum(cotam.decode((out / name).read_bytes(), "array").size > 0 for name in names)
    equal = sum((out / name).read_bytes() == (whole / name).read_bytes() for name in names)
    return {
        "pictures": expected,
        "kills": kills,
        "files": len(list(out.glob("*.ctm"))),
        "decoded": decoded,
        "equal": equal,
    }


def throughput(source: Path, folder: Path) -> dict[str, float]:
    """Seconds with one and with two workers, a thread each."""
    found = {f"workers_{n}": seconds(encode(source, folder / str(n), n)) for n in (1, 2)}
    return found | {"times": found["workers_1"] / found["workers_2"]}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--count", type=int, default=5000, help="pictures of the run that is killed, 96x96"
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument(
        "--pictures", type=int, default=200, help="pictures for one and two workers, 512x512"
    )
    add_options(parser)
    options = parser.parse_args()
    kept = (
        json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    )  # a part that is left out stays
    result: dict[str, Any] = kept | {"machine": describe(1)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.pictures:
            crops(folder / "large", options.pictures, 512)
            result["throughput"] = {"pictures": options.pictures} | throughput(
                folder / "large", folder
            )
        if options.count:
            crops(folder / "small", options.count, 96)
            result["killed"] = killed(folder / "small", folder, options.kills)
    if not hand_over(result, options):
        print(result.get("throughput"), result.get("killed"))


if __name__ == "__main__":
    main()
