"""Time and memory of `cotam encode` and `cotam decode` for pictures of hundreds of megapixels: `python -m benchmarks.huge --json`.

The picture is a mosaic of real photographs, each a little different in size so that nothing repeats on the codec's grid.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import cycle
from pathlib import Path
from typing import Any

from PIL import Image
from skimage import data as pictures

from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.timing import command
from codec.evaluation.machine import describe

SIZES = ((16384, 16384), (25000, 4000))
PHOTOS = ("coffee", "astronaut", "chelsea", "rocket", "stereo_motorcycle")


def photos() -> list[Image.Image]:
    """Those that are shipped with scikit-image."""
    loaded = (getattr(pictures, name)() for name in PHOTOS)
    return [
        Image.fromarray(values[0] if isinstance(values, tuple) else values) for values in loaded
    ]


def mosaic(width: int, height: int) -> Image.Image:
    """Rows of photographs at growing sizes."""
    image = Image.new("RGB", (width, height))
    supply = cycle(photos())
    side = 500
    top = 0
    while top < height:
        left = 0
        while left < width:
            photo = next(supply)
            scaled = photo.resize(
                (round(side * photo.width / photo.height), side), Image.Resampling.BICUBIC
            )
            image.paste(scaled, (left, top))
            left += scaled.width
        top = top + side
        side = side + 37
    return image


def measured(width: int, height: int, folder: Path, quality: float, rounds: int) -> dict[str, Any]:
    """Seconds and peak memory of both commands, and the file's bytes."""
    source = folder / "picture.png"
    coded = folder / "picture.ctm"
    mosaic(width, height).save(source, compress_level=1)
    limits = ["--limit-pixels", str(width * height)]
    encode = command(
        ["encode", str(source), "-o", str(coded), "-q", str(quality), *limits], rounds, warm_up=0
    )
    decode = command(
        ["decode", str(coded), "-o", str(folder / "decoded.png"), *limits], rounds, warm_up=0
    )
    return {
        "size": [width, height],
        "encode": encode,
        "decode": decode,
        "bytes": coded.stat().st_size,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quality", type=float, default=50)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--size", type=int, nargs=2, metavar=("WIDTH", "HEIGHT"), help="only this one"
    )
    add_options(parser)
    options = parser.parse_args()
    sizes = [(options.size[0], options.size[1])] if options.size else SIZES
    with tempfile.TemporaryDirectory() as folder:
        found = [
            measured(width, height, Path(folder), options.quality, options.rounds)
            for width, height in sizes
        ]
    result = {"machine": describe(None), "quality": options.quality, "pictures": found}
    if not hand_over(result, options):
        for facts in found:
            print(facts)


if __name__ == "__main__":
    main()
