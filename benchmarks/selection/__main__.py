"""Selects some of a tower's tokens: by the file's bits, by the tower's attention, or at random.

`python -m benchmarks.selection`. DeiT-Tiny processes all tokens of the decoded picture up to a
block, and only the selected tokens afterwards. Measures top-1 on eval/imagenet.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

import codec
from benchmarks.lib.output import add_options, hand_over
from benchmarks.selection.ways import WAYS, Floats, Seen, multiply_adds
from codec.evaluation.judges import data_root, read_pixels, spread
from codec.evaluation.judges.deit import DeitJudge
from codec.evaluation.machine import describe
from codec.evaluation.rows import RowsFile
from codec.tokens.selection import spent_at
from codec.towers import Tower

# Shares of the tokens that are kept.
BUDGETS = (0.25, 0.125, 0.0625)
# Blocks after which tokens are dropped.
BLOCKS = (2, 4, 8)
# Number of random selections that are averaged.
SEEDS = 3
RANDOM = "random"
# In the way with redundancy: how much less a patch counts if its neighbours predict it, 0..1.
REDUNDANCY = 1.0


@torch.inference_mode()
def top1_of(
    judge: DeitJudge, x: Tensor, bits: Floats, novel: Floats, truth: int, seed: int
) -> dict[str, float]:
    """Whether the tower classifies a picture correctly, with all tokens and with fewer.

    Args:
        judge: the judge that has the tower.
        x: the tower's input [1, 3, h, w].
        bits: bits spent on each patch [rows, columns].
        novel: the same, but lower if neighbours predict the patch.
        truth: the class 0..999.
        seed: seed of the random selection.

    Returns:
        "full" and "block/budget/way" -> 1 or 0, or a mean over random selections.
    """
    tower = judge.tower
    tokens = tower.tokens(x, BLOCKS)
    of_class = tower.attention(x, BLOCKS)[0].numpy()
    received = tower.attention(x, BLOCKS, received=True)[0].numpy()
    top1 = {"full": float(int(tower.classify(x).argmax()) == truth)}

    def right(way: str, seen: Seen, count: int, block: int) -> float:
        with_prefix = torch.cat([tokens[block][:, : tower.prefix], WAYS[way](seen, count)], 1)
        return float(int(tower.classify_tokens(with_prefix, block).argmax()) == truth)

    for number, block in enumerate(BLOCKS):
        patches = tokens[block][:, tower.prefix :]
        draws = [
            Seen(bits, novel, of_class[number], received[number], patches, seed * SEEDS + s)
            for s in range(SEEDS)
        ]
        for budget in BUDGETS:
            count = round(budget * bits.size)
            for way in WAYS:
                some = draws if way == RANDOM else draws[:1]
                answers = [right(way, seen, count, block) for seen in some]
                top1[f"{block}/{budget}/{way}"] = float(np.mean(answers))
    return top1


def costs_of(tower: Tower) -> dict[str, float]:
    """Multiply-adds of the tower's blocks, for "full" and each "block/budget"."""
    patches = tower.grid[0] * tower.grid[1]
    every = patches + tower.prefix
    costs = {"full": multiply_adds(tower.width, tower.depth, every, every, 0)}
    for block in BLOCKS:
        for budget in BUDGETS:
            kept = round(budget * patches) + tower.prefix
            costs[f"{block}/{budget}"] = multiply_adds(tower.width, tower.depth, every, kept, block)
    return costs


def run(model: str, quality: float, limit: int | None, file: RowsFile | None) -> dict[str, Any]:
    """Measure all ways.

    Args:
        model: the weights.
        quality: 0..100.
        limit: largest number of pictures, evenly spaced; None for all.
        file: the file of rows; None for no file.

    Returns:
        Mean top-1 and its standard error, by way.
    """
    cotam = codec.load(model, "cpu")
    judge = DeitJudge(data_root())
    samples = spread(judge.pictures(), limit)
    rows = []
    for number, sample in enumerate(track(samples, "pictures")):
        key = (cotam.fingerprint, quality, sample.path.name, number)
        if file is not None and key in file.rows:
            rows.append(file.rows[key]["top1"])
            continue
        data = cotam.encode(read_pixels(sample.path), tool="learned", quality=quality)
        decoded = cotam.decode_full(data, want_bits=True)
        pixels = decoded.picture.pixels
        box = judge.box(*pixels.shape[:2])[0].tolist()
        bits, novel = (
            spent_at(decoded, judge.tower.grid, box, redundancy) for redundancy in (0.0, REDUNDANCY)
        )
        rows.append(top1_of(judge, judge.look(pixels), bits, novel, sample.truth, number))
        if file is not None:
            file.add([{"key": list(key), "top1": rows[-1]}])
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        "model": cotam.backend.checkpoint.name,
        "fingerprint": cotam.fingerprint,
        "machine": describe(),
        "quality": quality,
        "pictures": len(samples),
        "note": (
            f"random: mean of {SEEDS} draws; class attention and attention received: the tower's "
            "own, in the block before, averaged over the heads"
        ),
        "multiply_adds": costs_of(judge.tower),
        "top1": {name: float(v.mean()) for name, v in table.items()},
        "standard_error": {name: float(v.std() / np.sqrt(len(v))) for name, v in table.items()},
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default")
    parser.add_argument("--quality", type=float, default=50)
    parser.add_argument(
        "--limit", type=int, default=None, help="only so many pictures, evenly spaced"
    )
    parser.add_argument("--rows", type=Path, default=None, help="where measured rows are kept")
    add_options(parser)
    options = parser.parse_args()
    rows = RowsFile(options.rows) if options.rows else None
    result = run(options.model, options.quality, options.limit, rows)
    if not hand_over(result, options):
        for name, value in result["top1"].items():
            print(f"{name:28}{value:.3f} +- {result['standard_error'][name]:.3f}")


if __name__ == "__main__":
    main()
