"""Which of a tower's tokens to keep: by the file's bits, at random, or by the tower's attention.

`python -m benchmarks.selection`. DeiT-Tiny sees the whole decoded picture up to a block; after it,
only the selected tokens are computed. Top-1 on eval/imagenet.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

import codec
from benchmarks.lib.output import add_options, hand_over
from codec.evaluation.judges import data_root, read_pixels, spread
from codec.evaluation.judges.deit import DeitJudge
from codec.evaluation.machine import describe
from codec.tokens.selection import quadtree, spent_at

# Shares of the tokens that are kept.
BUDGETS = (0.25, 0.125, 0.0625)
# Blocks after which tokens are dropped.
BLOCKS = (4, 8)
# Draws of the random selection that are averaged.
SEEDS = 3


def kept_by(
    way: str, information: np.ndarray, attention: np.ndarray, count: int, seed: int
) -> np.ndarray:
    """Select patches.

    Args:
        way: "bits", "attention" or "random".
        information: bits of each patch [rows, columns].
        attention: of the class token to each patch [patches].
        count: of patches that are kept.
        seed: of the random selection.

    Returns:
        Their positions [count].
    """
    if way == "random":
        return np.sort(np.random.default_rng(seed).permutation(information.size)[:count])
    if way == "attention":
        return np.sort(np.argsort(-attention.ravel(), kind="stable")[:count])
    return quadtree(information, count).indexes


@torch.inference_mode()
def top1_of(
    judge: DeitJudge, x: Tensor, information: np.ndarray, truth: int, seed: int
) -> dict[str, float]:
    """Whether the tower is right about a picture, with all tokens and with fewer.

    Args:
        judge: with the tower.
        x: the tower's input [1, 3, h, w].
        information: bits of each patch [rows, columns].
        truth: the class 0..999.
        seed: of the random selection.

    Returns:
        "full" and "block/budget/way" -> 1 or 0, or a mean over draws.
    """
    tower = judge.tower
    tokens = tower.tokens(x, BLOCKS)
    attention = tower.attention(x, BLOCKS)[0].numpy()
    top1 = {"full": float(int(tower.classify(x).argmax()) == truth)}

    def right(kept: Tensor, block: int) -> float:
        with_prefix = torch.cat([tokens[block][:, : tower.prefix], kept], 1)
        return float(int(tower.classify_tokens(with_prefix, block).argmax()) == truth)

    for number, block in enumerate(BLOCKS):
        patches = tokens[block][:, tower.prefix :]
        for budget in BUDGETS:
            count = round(budget * information.size)
            for way in ("bits", "attention", "random"):
                seeds = SEEDS if way == "random" else 1
                places = [
                    kept_by(way, information, attention[number], count, seed * SEEDS + s)
                    for s in range(seeds)
                ]
                answers = [right(patches[:, torch.from_numpy(p)], block) for p in places]
                top1[f"{block}/{budget}/{way}"] = float(np.mean(answers))
            merged = quadtree(information, count).merged(patches)
            top1[f"{block}/{budget}/bits, merged"] = right(merged, block)
    return top1


def run(model: str, quality: float, limit: int | None) -> dict[str, Any]:
    """Measure all ways.

    Args:
        model: the weights.
        quality: 0..100.
        limit: at most so many pictures, evenly spaced; None for all.

    Returns:
        Mean top-1 and its standard error, by way.
    """
    cotam = codec.load(model, "cpu")
    judge = DeitJudge(data_root())
    samples = spread(judge.pictures(), limit)
    rows = []
    for number, sample in enumerate(track(samples, "pictures")):
        data = cotam.encode(read_pixels(sample.path), tool="learned", quality=quality)
        decoded = cotam.decode_full(data, want_bits=True)
        pixels = decoded.picture.pixels
        information = spent_at(decoded, judge.tower.grid, judge.box(*pixels.shape[:2])[0].tolist())
        rows.append(top1_of(judge, judge.look(pixels), information, sample.truth, number))
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return {
        "model": cotam.backend.checkpoint.name,
        "fingerprint": cotam.fingerprint,
        "machine": describe(),
        "quality": quality,
        "pictures": len(samples),
        "note": (
            f"random: mean of {SEEDS} draws; "
            "attention: the tower's own [CLS] attention in the block before"
        ),
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
    add_options(parser)
    options = parser.parse_args()
    result = run(options.model, options.quality, options.limit)
    if not hand_over(result, options):
        for name, value in result["top1"].items():
            print(f"{name:28}{value:.3f} +- {result['standard_error'][name]:.3f}")


if __name__ == "__main__":
    main()
