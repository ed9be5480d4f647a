"""Time and memory of both commands for pictures of hundreds of megapixels.

`python -m benchmarks.scale.huge --json`. The picture is a mosaic of real photographs. Each is a
little larger than the previous one, so that nothing repeats on the codec's grid.
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

# Width and height in pixels of a square and of a long strip.
SIZES = ((16384, 16384), (25000, 4000))
PHOTOS = ("coffee", "astronaut", "chelsea", "rocket", "stereo_motorcycle")
# Height in pixels of the first row of photographs, and the difference from row to row. The latter
# is not a multiple of 16, so that no row repeats on the latent grid.
FIRST_ROW = 500
GROWTH = 37


def photos() -> list[Image.Image]:
    """Photographs that scikit-image ships."""
    arrays = (getattr(pictures, name)() for name in PHOTOS)
    return [
        Image.fromarray(values[0] if isinstance(values, tuple) else values) for values in arrays
    ]


def mosaic(width: int, height: int) -> Image.Image:
    """Make rows of photographs with growing sizes.

    Args:
        width: in pixels.
        height: in pixels.

    Returns:
        An image of that size.
    """
    image = Image.new("RGB", (width, height))
    supply = cycle(photos())
    side = FIRST_ROW
    top = 0
    while top < height:
        left = 0
        while left < width:
            photo = next(supply)
            size = round(side * photo.width / photo.height), side
            scaled = photo.resize(size, Image.Resampling.BICUBIC)
            image.paste(scaled, (left, top))
            left += scaled.width
        top += side
        side += GROWTH
    return image


def measured(width: int, height: int, folder: Path, quality: float, rounds: int) -> dict[str, Any]:
    """Measure both commands on a mosaic.

    Args:
        width: in pixels.
        height: in pixels.
        folder: where the picture and its files are written.
        quality: 0..100.
        rounds: how often each command runs.

    Returns:
        size; encode and decode: seconds and peak memory; bytes of the file.
    """
    source = folder / "picture.png"
    coded = folder / "picture.ctm"
    target = folder / "decoded.png"
    mosaic(width, height).save(source, compress_level=1)
    limits = ["--limit-pixels", str(width * height)]
    encoding = ["encode", str(source), "-o", str(coded), "-q", str(quality), *limits]
    decoding = ["decode", str(coded), "-o", str(target), *limits]
    return {
        "size": [width, height],
        "encode": command(encoding, rounds, warm_up=0),
        "decode": command(decoding, rounds, warm_up=0),
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
        rows = [
            measured(width, height, Path(folder), options.quality, options.rounds)
            for width, height in sizes
        ]
    result = {"machine": describe(None), "quality": options.quality, "pictures": rows}
    if not hand_over(result, options):
        for facts in rows:
            print(facts)


if __name__ == "__main__":
    main()
