"""Many pictures: a run that is killed repeatedly, and two workers compared with one.

`python -m benchmarks.scale.many --json`. Runs the real command on crops of real photographs
(COTAM_DATA/train/photos). The workers also get SIGKILL.
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
# Sides in pixels: small crops for the run of many files, large ones to keep the workers busy.
SMALL = 96
LARGE = 512
# Seconds until a run is killed in any case, and between two checks of its folder.
PATIENCE = 120.0
PAUSE = 0.005
# The same for the run that is killed at random moments. It may take an hour. The pauses are random,
# so that kills hit every stage.
LONG_PATIENCE = 3600.0
PAUSES = (0.01, 0.2)


def crops(folder: Path, count: int, side: int, seed: int = 0) -> None:
    """Write random crops of the photographs as PNG files 00000.png, 00001.png, ...

    Args:
        folder: the folder for them, which is created.
        count: number of files.
        side: largest side in pixels.
        seed: seed of the random positions.
    """
    photos = sorted((data_root() / "train" / "photos").glob("*.*"))
    draw = random.Random(seed)
    folder.mkdir(parents=True)
    for number, path in zip(range(count), cycle(photos)):
        photo = Image.fromarray(read_pixels(path))
        left, top = (draw.randint(0, max(0, length - side)) for length in photo.size)
        photo.crop((left, top, left + side, top + side)).save(folder / f"{number:05}.png")


def encode(source: Path, out: Path, workers: int) -> Command:
    """The command `cotam encode` for a folder, which skips existing results."""
    options = ["--skip-existing", "-j", str(workers)]
    return [sys.executable, "-m", "codec.cli", "encode", str(source), "-o", str(out), *options]


def seconds(command: Command) -> float:
    """Seconds that a command takes, with one thread per process."""
    start = time.perf_counter()
    subprocess.run(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - start


def killed_at(
    command: Command,
    out: Path,
    moments: Iterable[int],
    patience: float = PATIENCE,
    pause: Callable[[], float] = lambda: PAUSE,
) -> Iterator[int]:
    """Start a command again and again, and kill it each time.

    Args:
        command: a command that writes .ctm files to `out`.
        out: a folder.
        moments: numbers of files at which it is killed.
        patience: seconds after which it is killed in any case.
        pause: seconds between two checks of the folder.

    Yields:
        The number of files after each kill.
    """
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
        # The process may have ended in the meantime.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        yield len(list(out.glob("*.ctm")))


def killed(source: Path, folder: Path, kills: int, seed: int = 0) -> dict[str, Any]:
    """Compare a run that is killed at random moments with an uninterrupted run.

    Args:
        source: a folder of pictures.
        folder: where the files of both runs are written.
        kills: how often the run is killed.
        seed: seed of the random moments.

    Returns:
        Numbers of pictures, kills, files, files that decode, and files that are equal.
    """
    expected = len(list(source.glob("*.png")))
    out = folder / "killed"
    whole = folder / "whole"
    draw = random.Random(seed)
    moments = sorted(draw.sample(range(1, expected), kills))
    command = encode(source, out, 2)
    for _ in killed_at(command, out, moments, LONG_PATIENCE, lambda: draw.uniform(*PAUSES)):
        pass
    for target in (out, whole):
        seconds(encode(source, target, 2))
    names = sorted(path.name for path in whole.glob("*.ctm"))
    cotam = codec.load("default", "cpu")
    decoded = sum(
        cotam.decode((out / name).read_bytes(), output="array").size > 0 for name in names
    )
    equal = sum((out / name).read_bytes() == (whole / name).read_bytes() for name in names)
    return {
        "pictures": expected,
        "kills": kills,
        "files": len(list(out.glob("*.ctm"))),
        "decoded": decoded,
        "equal": equal,
    }


def throughput(source: Path, folder: Path) -> dict[str, float]:
    """Seconds with one and with two workers, each with one thread, and their ratio."""
    spent = {f"workers_{n}": seconds(encode(source, folder / str(n), n)) for n in (1, 2)}
    return spent | {"times": spent["workers_1"] / spent["workers_2"]}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--count",
        type=int,
        default=5000,
        help=f"pictures of the run that is killed, {SMALL}x{SMALL}",
    )
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument(
        "--pictures",
        type=int,
        default=200,
        help=f"pictures for one and two workers, {LARGE}x{LARGE}",
    )
    add_options(parser)
    options = parser.parse_args()
    # A part that is not measured keeps its earlier result.
    earlier = json.loads(options.out.read_text()) if options.out and options.out.exists() else {}
    result: dict[str, Any] = earlier | {"machine": describe(1)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.pictures:
            crops(folder / "large", options.pictures, LARGE)
            spent = throughput(folder / "large", folder)
            result["throughput"] = {"pictures": options.pictures} | spent
        if options.count:
            crops(folder / "small", options.count, SMALL)
            result["killed"] = killed(folder / "small", folder, options.kills)
    if not hand_over(result, options):
        print(result.get("throughput"), result.get("killed"))


if __name__ == "__main__":
    main()
