"""Decoding time of each level of a file, and accuracy of the preview.

`python -m benchmarks.levels --json`.
Times: 768x512, quality 50, medians of alternating calls after a warm-up. Preview: PSNR against the
full decode downscaled by 8 (box filter), on Kodak.
"""

from __future__ import annotations

import argparse
from statistics import mean
from typing import Any

import numpy as np
import torch

import codec
from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.timing import medians
from benchmarks.speed import SIDES, picture
from codec.coding.pipeline import PREVIEW
from codec.evaluation.distortion import psnr
from codec.evaluation.judges import data_root, read_pixels
from codec.evaluation.machine import describe
from codec.io import images
from codec.networks.adapter import AdapterConfig, TokenAdapter
from codec.tokens import select_tokens
from codec.tokens.adapters import Adapter
from codec.tokens.decode import embedded, tokens
from codec.towers import Tower, load_tower

TOWER = "ViT-L-14-336"
QUALITY = 50.0
# Qualities at which the preview's PSNR is measured: low, default, high.
QUALITIES = (20, 50, 80)
# Share of the tower's 24x24 tokens that token selection keeps.
SELECTED = 0.25
GRID = (24, 24)


def adapter_for(cotam: codec.Codec, tower: Tower) -> Adapter:
    """An adapter with random weights in the shape of the shipped one for embeddings."""
    config = AdapterConfig(
        cotam.learned.pipeline.layers[-1].stop,
        tower.width,
        *tower.grid,
        tower.prefix,
        inner=256,
        heads=4,
        blocks=4,
        sees=True,
    )
    network = TokenAdapter(config).eval().requires_grad_(False)
    return Adapter({0: network}, cotam.fingerprint, tower.name, tower.signature, {})


def times(cotam: codec.Codec, rounds: int) -> dict[str, float]:
    """Time the levels of a file.

    Tokens are those of a CLIP ViT-L/14-336 with random weights and only its first block. Its
    embedding and the adapter, which are timed, are those of the complete tower.

    Args:
        cotam: the codec.
        rounds: how often each level is timed.

    Returns:
        Level -> median milliseconds.
    """
    data = cotam.encode(picture(*SIDES), tool="learned", quality=QUALITY)
    tower = load_tower(TOWER, "random", layers=1)
    adapter = adapter_for(cotam, tower)
    with_bits = cotam.decode_full(data, want_bits=True)

    def embedding() -> Any:
        decoded = cotam.decode_full(data)
        shown = tower.prepare(decoded.to("tensor")[None])
        with torch.inference_mode():
            return embedded(cotam.backend, decoded, tower, None, shown, torch.zeros(1, 4))

    return medians(
        {
            "decode": lambda: cotam.decode(data, output="array"),
            "preview": lambda: cotam.decode(data, output="array", level="preview"),
            "decode_and_embedding": embedding,
            "decode_tokens": lambda: tokens(
                cotam.backend, [cotam.decode_full(data)], tower, adapter
            ),
            "select_tokens": lambda: select_tokens(with_bits, SELECTED, GRID),
        },
        rounds,
    )


def preview_psnr(cotam: codec.Codec) -> dict[str, dict[str, float]]:
    """PSNR of previews on Kodak.

    Returns:
        Quality -> mean and minimum over the pictures.
    """
    by_quality = {}
    for quality in QUALITIES:
        values = []
        for path in sorted((data_root() / "eval" / "kodak").glob("*.png")):
            data = cotam.encode(read_pixels(path), tool="learned", quality=quality)
            full = images.reduced(cotam.decode_full(data).picture, PREVIEW).pixels
            values.append(
                psnr(cotam.decode(data, output="array", level="preview"), np.asarray(full))
            )
        by_quality[str(quality)] = {"mean": mean(values), "least": min(values)}
    return by_quality


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="default")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    add_options(parser)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cotam = codec.load(options.model, "cpu")
    # Without a preview layer, the preview is the downscaled full decode.
    layered = len(cotam.learned.pipeline.layers) > 1
    spent = times(cotam, options.rounds)
    result = {
        "model": cotam.backend.checkpoint.name,
        "fingerprint": cotam.fingerprint,
        "machine": describe(options.threads),
        "milliseconds": spent,
        "preview_share_of_decode": spent["preview"] / spent["decode"] if layered else None,
        "tokens_over_decode_and_embedding": spent["decode_tokens"] / spent["decode_and_embedding"],
        "preview_psnr": preview_psnr(cotam) if layered else None,
    }
    if not hand_over(result, options):
        for name, value in result.items():
            print(f"{name:36}{value}")


if __name__ == "__main__":
    main()
