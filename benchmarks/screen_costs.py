"""Time, memory and lossless size for screenshots: `python -m benchmarks.screen_costs --json`.

::

    pictures at 1456x819 -> AVIF and CoTAM alternately, two threads -> seconds, ratio
    one of them -> whole commands -> seconds, peak memory
    pictures at native size -> lossless files of CoTAM and of WebP -> bytes
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import codec
from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.timing import command, medians
from benchmarks.screens import CLIENT_SIZE, pictures_of, read
from codec.evaluation.distortion import Pixels
from codec.evaluation.machine import describe
from codec.tools.payloads.pillow import saved

THREADS = 2
ROUNDS = 3
COMMAND_ROUNDS = 5
FOLDERS = ("eval/screens", "eval/kodak")
# Pillow's settings of lossless WebP: the slowest method, with default and with highest effort.
WEBP = {"method 6": 80, "method 6, quality 100": 100}


def opened(data: bytes) -> Pixels:
    """The pixels of a picture file."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def times(cotam: codec.Codec, image: Image.Image) -> dict[str, float]:
    """Milliseconds to encode and decode a picture of CLIENT_SIZE."""
    pixels = np.asarray(image)
    avif = saved(image, "AVIF", max_threads=THREADS)
    file = cotam.encode(pixels)
    calls: dict[str, Callable[[], Any]] = {
        "avif encode": lambda: saved(image, "AVIF", max_threads=THREADS),
        "cotam encode": lambda: cotam.encode(pixels),
        "avif decode": lambda: opened(avif),
        "cotam decode": lambda: cotam.decode(file, output="array"),
    }
    return medians(calls, ROUNDS)


def commands(image: Image.Image) -> dict[str, dict[str, float]]:
    """Seconds and peak memory of whole commands on a picture."""
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "shot.png"
        image.save(shot)
        encode = ["encode", str(shot), "-o", f"{folder}/shot.ctm"]
        decode = ["decode", f"{folder}/shot.ctm", "-o", f"{folder}/back.png"]
        return {
            "encode": command(encode, COMMAND_ROUNDS),
            "decode": command(decode, COMMAND_ROUNDS),
        }


def lossless(cotam: codec.Codec, paths: list[Path]) -> dict[str, float]:
    """Bytes of CoTAM's lossless files relative to those of lossless WebP, summed over pictures."""
    ours = 0
    others = dict.fromkeys(WEBP, 0)
    for path in paths:
        pixels = read(path, None)
        image = Image.fromarray(pixels)
        ours += len(cotam.encode(pixels, lossless=True))
        for name, quality in WEBP.items():
            options = {"lossless": True, "method": 6, "quality": quality}
            others[name] += len(saved(image, "WEBP", **options))
    return {name: ours / size for name, size in others.items()}


def run(limit: int) -> dict[str, Any]:
    """Measure everything.

    Args:
        limit: number of pictures per folder.

    Returns:
        The result.
    """
    cotam = codec.load()
    images = [
        Image.fromarray(read(path, None)).resize(CLIENT_SIZE, Image.Resampling.LANCZOS)
        for path in pictures_of(FOLDERS[0], limit)
    ]
    rows = [times(cotam, image) for image in images]
    means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    return {
        "machine": describe(),
        "pictures": len(images),
        "size": CLIENT_SIZE,
        "threads": THREADS,
        "milliseconds": means,
        "encode_ratio": means["cotam encode"] / means["avif encode"],
        "commands": commands(images[0]),
        "lossless": {folder: lossless(cotam, pictures_of(folder, limit)) for folder in FOLDERS},
    }


def show(result: dict[str, Any]) -> None:
    """Print a readable summary."""
    for name, milliseconds in result["milliseconds"].items():
        print(f"{name}: {milliseconds:.0f} ms")
    print(f"encode, relative to AVIF: {result['encode_ratio']:.2f}")
    for name, cost in result["commands"].items():
        print(f"cotam {name}: {cost['seconds']:.2f} s, {cost['peak_mb']:.0f} MB")
    for folder, ratios in result["lossless"].items():
        for name, ratio in ratios.items():
            print(f"lossless {folder}: {ratio:.3f} of lossless WebP's bytes ({name})")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--limit", type=int, default=12, help="pictures of each folder")
    add_options(parser)
    options = parser.parse_args()
    result = run(options.limit)
    if not hand_over(result, options):
        show(result)


if __name__ == "__main__":
    main()
