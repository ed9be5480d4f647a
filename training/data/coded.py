"""Views of pictures beside views of the same pictures coded, and what a tower sees in them.

::

    picture -> codec at three qualities -> decoded --+-> the same two crops of each, 224 pixels
       \\---------------------------------------------+      \\-> tower -> tokens of several layers,
                                                                    projected on their main axes

A feature network learns from it (training.stages.features): the tower looks once and is not needed
again. Shards are .npz files; `axes.npz` beside them holds the projections.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

import codec
from codec.networks.tensors import has_bfloat16
from codec.towers import Tower, load_tower
from training.data.folder import list_pictures, read_picture

SIDE = 224
WIDEST = 300  # pixels that a picture's short side has at most where a view shows all of it
# Ranges of the qualities that each picture is coded at.
QUALITIES = ((1.0, 12.0), (12.0, 35.0), (35.0, 80.0))
HELD_OUT = 12  # every so manieth picture is kept aside
PER_SHARD = 24  # pictures
LONGEST = 768  # pixels; larger pictures are cut
LAYERS = (3, 8, -1)
AXES = 96  # of a layer's tokens; they hold nearly all of what coding changes
AXES_FROM = 48  # views of a shard that the axes are found from

Views = NDArray[np.uint8]


def is_held_out(index: int) -> bool:
    """Whether the picture of this index in the sorted list is kept aside from training."""
    return index % HELD_OUT == HELD_OUT // 2


def views(versions: list[Views], random: np.random.Generator) -> Iterator[Views]:
    """Cut two views out of all versions of a picture.

    Args:
        versions: uint8 [H, W, 3] each, the original first.
        random: draws scales and places.

    Yields:
        uint8 [versions, SIDE, SIDE, 3]: nearly the whole short side, then something nearer.
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
    """Return a picture and its decoded files, one for each range of QUALITIES."""
    height, width = pixels.shape[:2]
    top = int(random.integers(max(1, height - LONGEST + 1)))
    left = int(random.integers(max(1, width - LONGEST + 1)))
    pixels = pixels[top : top + LONGEST, left : left + LONGEST]
    files = [
        cotam.encode(pixels, quality=random.uniform(*limits), tool="learned")
        for limits in QUALITIES
    ]
    return [pixels, *(cotam.decode(data, output="array") for data in files)]


@torch.inference_mode()
def tokens_of(tower: Tower, pictures: Views) -> list[Tensor]:
    """Per layer, the tokens [n, V, prefix + patches, width] of views uint8 [n, V, S, S, 3]."""
    rows = []
    bfloat16 = has_bfloat16(torch.device("cpu"))
    for versions in pictures:
        x = torch.from_numpy(np.ascontiguousarray(versions.transpose(0, 3, 1, 2))).float() / 255
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            tokens = tower.tokens(tower.normalize(x), LAYERS)
        rows.append([tokens[layer].float() for layer in LAYERS])
    return [torch.stack(level) for level in zip(*rows)]


def axes_of(levels: list[Tensor]) -> dict[str, NDArray[np.float32]]:
    """Find each layer's mean, deviation, and the axes of what coding changes.

    Args:
        levels: from `tokens_of`.

    Returns:
        mean [L, width], scale [L], axes [L, width, AXES] (orthonormal), and the share of the
        squared changes that the axes hold [L].
    """
    rows = []
    for tokens in levels:
        mean = tokens.mean((0, 1, 2))
        scale = (tokens - mean).square().mean().sqrt()
        # Half what coding changes, half the tokens themselves.
        changes = ((tokens[:, 1:] - tokens[:, :1]) / scale).flatten(0, 2)
        spread = ((tokens[:, 0] - mean) / scale).flatten(0, 1)
        moments = [v.T @ v for v in (changes, spread)]
        total = sum(m / m.trace() for m in moments)
        axes = torch.linalg.eigh(total)[1].flip(1)[:, :AXES]
        held = (changes @ axes).square().sum() / changes.square().sum()
        rows.append((mean, scale, axes, held))
    names = ("mean", "scale", "axes", "held")
    return {name: torch.stack(v).numpy() for name, v in zip(names, zip(*rows))}


def projected(levels: list[Tensor], axes: dict[str, NDArray[np.float32]]) -> NDArray[np.float16]:
    """Project tokens: [n, V, L, prefix + patches, AXES]."""
    parts = [
        (tokens - torch.from_numpy(axes["mean"][k])) / float(axes["scale"][k])
        @ torch.from_numpy(axes["axes"][k])
        for k, tokens in enumerate(levels)
    ]
    return torch.stack(parts, 2).numpy().astype(np.float16)


def write_shard(target: Path, pictures: Views, tower: Tower) -> None:
    """Write views with the tower's tokens; makes `axes.npz` beside them if there is none."""
    levels = tokens_of(tower, pictures)
    place = target.parent / "axes.npz"
    if not place.exists():
        np.savez(place, **axes_of([level[:AXES_FROM] for level in levels]))
    with np.load(place) as file:
        tokens = projected(levels, dict(file))
    partial = target.with_suffix(".part")
    with partial.open("wb") as stream:
        np.savez(stream, pictures=pictures, tokens=tokens)
    partial.rename(target)


def main() -> None:
    """Write the shards of all pictures below some folders; those that exist are kept."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("output", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", default="default")
    parser.add_argument("--tower", default="timm:deit_tiny_patch16_224")
    parser.add_argument("--tower-weights", default=None)
    parser.add_argument("--count", type=int, default=None, help="pictures, spread over all")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    paths = [path for folder in arguments.folders for path in list_pictures(folder)]
    chosen = [path for i, path in enumerate(paths) if not is_held_out(i)]
    order = np.random.default_rng(0).permutation(len(chosen))[: arguments.count]
    cotam = codec.load(arguments.model)
    tower = load_tower(arguments.tower, arguments.tower_weights)
    for first in range(0, len(order), PER_SHARD):
        target = arguments.output / f"{first // PER_SHARD:04d}.npz"
        if target.exists():
            continue
        random = np.random.default_rng(first)
        rows = []
        for k in order[first : first + PER_SHARD]:
            pixels = read_picture(chosen[k])
            if pixels is not None and min(pixels.shape[:2]) >= SIDE // 2:
                rows.extend(views(coded(cotam, pixels, random), random))
        write_shard(target, np.stack(rows), tower)
        print(target, len(rows), flush=True)


if __name__ == "__main__":
    main()
