"""Writes crops of pictures, each with the same crop of coded and decoded versions.

::

    picture -> codec at three qualities -> decoded --+-> the same two crops of each, 224 pixels
       \\---------------------------------------------+

The feature network is trained on them (training.stages.features). Coding takes longer than a
training step, so it is done once, before training. A shard is a .npy file with an array uint8
[n, 1 + qualities, 224, 224, 3]; the original comes first.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import codec
from training.data.pictures import list_pictures, read_picture, without_held_out

SIDE = 224
WIDEST = 300  # upper limit in pixels of the short side, in the view that shows all of it
# Ranges of the qualities that each picture is coded at.
QUALITIES = ((1.0, 12.0), (12.0, 35.0), (35.0, 80.0))
HELD_OUT = 12  # one picture in this many is held out
PER_SHARD = 24  # pictures
LONGEST = 768  # pixels; larger pictures are cut

Views = NDArray[np.uint8]


def views(versions: list[Views], random: np.random.Generator) -> Iterator[Views]:
    """Cut two views out of all versions of a picture.

    Args:
        versions: uint8 [H, W, 3] each, the original first.
        random: draws the scales and positions of the views.

    Yields:
        uint8 [versions, SIDE, SIDE, 3]: first a view of nearly the whole short side, then a
        closer one.
    """
    height, width = versions[0].shape[:2]
    short = min(height, width)
    whole = min(1.0, random.uniform(SIDE, WIDEST) / short)
    nearer = float(np.exp(random.uniform(np.log(whole), 0)))
    for scale in (whole, nearer):
        scale = max(scale, SIDE / short)
        rows = max(SIDE, round(height * scale))
        cols = max(SIDE, round(width * scale))
        top = int(random.integers(rows - SIDE + 1))
        left = int(random.integers(cols - SIDE + 1))
        yield np.stack(
            [_resized(v, rows, cols)[top : top + SIDE, left : left + SIDE] for v in versions]
        )


def _resized(pixels: Views, rows: int, cols: int) -> Views:
    if pixels.shape[:2] == (rows, cols):
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((cols, rows), Image.Resampling.BICUBIC))


def coded(cotam: codec.Codec, pixels: Views, random: np.random.Generator) -> list[Views]:
    """Return a picture, cut to LONGEST, and a coded and decoded version per range of QUALITIES."""
    height, width = pixels.shape[:2]
    top = int(random.integers(max(1, height - LONGEST + 1)))
    left = int(random.integers(max(1, width - LONGEST + 1)))
    pixels = pixels[top : top + LONGEST, left : left + LONGEST]
    files = [
        cotam.encode(pixels, quality=random.uniform(*limits), tool="learned")
        for limits in QUALITIES
    ]
    return [pixels, *(cotam.decode(data, output="array") for data in files)]


def main() -> None:
    """Write the shards for all pictures below some folders; existing shards are kept."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default="default")
    parser.add_argument("--count", type=int, default=None, help="pictures, spread over all")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    paths = [path for folder in arguments.folders for path in list_pictures(folder)]
    chosen = without_held_out(paths, HELD_OUT)
    order = np.random.default_rng(0).permutation(len(chosen))[: arguments.count]
    cotam = codec.load(arguments.model)
    for first in range(0, len(order), PER_SHARD):
        target = arguments.output / f"{first // PER_SHARD:04d}.npy"
        if target.exists():
            continue
        random = np.random.default_rng(first)
        rows: list[Views] = []
        for k in order[first : first + PER_SHARD]:
            pixels = read_picture(chosen[k])
            if pixels is not None and min(pixels.shape[:2]) >= SIDE // 2:
                rows.extend(views(coded(cotam, pixels, random), random))
        partial = target.with_suffix(".part")
        with partial.open("wb") as file:
            np.save(file, np.stack(rows))
        partial.rename(target)
        print(target, len(rows), flush=True)


if __name__ == "__main__":
    main()
