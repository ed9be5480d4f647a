"""Rate-distortion on a folder of pictures, real file bytes: `python -m benchmarks.rd --json [--out benchmarks/results/rd.json]`."""

from __future__ import annotations

import argparse
from itertools import pairwise
from pathlib import Path
from typing import Any

import bjontegaard
import numpy as np

import codec
from benchmarks.lib.output import add_options, hand_over
from codec.evaluation.judges import data_root, read_pixels
from codec.evaluation.machine import describe
from codec.evaluation.metrics import ms_ssim
from codec.evaluation.rivals import RIVALS, Pixels, Rival, in_db, psnr

QUALITIES = (0, 6, 12, 18, 24, 30, 36, 42, 48, 54, 60, 66, 72, 80, 90, 100)
RANGE = (0.1, 1.0)
MODELS = "small-mse,small,tiny"


def default_pictures() -> Path:
    """Kodak, below COTAM_DATA."""
    return data_root() / "eval" / "kodak"


def point(quality: float, rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over pictures."""
    mean = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    return {"quality": quality} | mean


def distortions(original: Pixels, decoded: Pixels) -> dict[str, float]:
    """psnr in dB; ms_ssim, 0..1; nan for pictures too small for it."""
    similar = ms_ssim(original, decoded)
    return {
        "psnr": psnr(original, decoded),
        "ms_ssim": float("nan") if similar is None else similar,
    }


def measure_rival(rival: Rival, pictures: list[np.ndarray]) -> list[dict[str, float]]:
    points = []
    for quality in rival.qualities:
        rows = []
        for pixels in pictures:
            data = rival.encode(pixels, quality)
            rows.append(
                {"bpp": len(data) * 24 / pixels.size} | distortions(pixels, rival.decode(data))
            )
        points.append(point(quality, rows))
    return points


def measure_cotam(loaded: codec.Codec, pictures: list[np.ndarray]) -> list[dict[str, float]]:
    """One QP for all pictures of a quality. Adds `excess`: file bytes over the model's own entropy (bits of the integer tables),
    the 20-byte header left out.
    """
    points = []
    for quality in QUALITIES:
        rows = []
        for pixels in pictures:
            encoded = loaded.encode_full(pixels, quality, want_bits=True, guide="uniform", slope=0)
            decoded = loaded.decode(encoded.data, "array")
            assert encoded.bits is not None
            excess = (len(encoded.data) - 20) * 8 / float(encoded.bits.sum()) - 1
            rows.append(
                {"bpp": len(encoded.data) * 24 / pixels.size, "excess": excess}
                | distortions(pixels, decoded)
            )
        points.append(point(quality, rows))
    return points


def bd_rate(
    anchor: list[dict[str, float]], test: list[dict[str, float]], score: str = "psnr"
) -> float:
    """Percent of the anchor's rate that the test curve needs more (negative: less), over the anchor's points in RANGE."""
    low, high = RANGE
    inside = [p for p in anchor if low <= p["bpp"] <= high]
    shown = in_db if score == "ms_ssim" else float
    rates = [p["bpp"] for p in inside]
    scores = [shown(p[score]) for p in inside]
    chosen = [p for p in test if low / 3 <= p["bpp"] <= high * 1.5]
    rates_test = [p["bpp"] for p in chosen]
    scores_test = [shown(p[score]) for p in chosen]
    return float(
        bjontegaard.bd_rate(
            rates,
            scores,
            rates_test,
            scores_test,
            method="akima",
            require_matching_points=False,
            min_overlap=0.5,
        )
    )


def bd_psnr(anchor: list[dict[str, float]], test: list[dict[str, float]]) -> float:
    """Decibels that the test curve lies above the anchor, both in RANGE."""
    inside = [
        [p for p in points if RANGE[0] / 1.5 <= p["bpp"] <= RANGE[1] * 1.5]
        for points in (anchor, test)
    ]
    values = [[p[key] for p in points] for points in inside for key in ("bpp", "psnr")]
    return float(
        bjontegaard.bd_psnr(*values, method="akima", require_matching_points=False, min_overlap=0.5)
    )


def facts_of(
    loaded: codec.Codec, curves: dict[str, list[dict[str, float]]], rivals: list[str]
) -> dict[str, Any]:
    """What is known of one set of weights beside its curve."""
    points = curves[curve_name(loaded)]
    rates = [p["bpp"] for p in points]
    return {
        "fingerprint": loaded.fingerprint,
        "bd_rate_psnr": {name: round(bd_rate(curves[name], points), 2) for name in rivals},
        "bd_rate_ms_ssim": {
            name: round(bd_rate(curves[name], points, "ms_ssim"), 2) for name in rivals
        },
        "range_bpp": [min(rates), max(rates)],
        "monotone": all(a < b for a, b in pairwise(rates)),
        "largest_excess": max(p["excess"] for p in points),
    }


def curve_name(loaded: codec.Codec) -> str:
    """As in tables and plots."""
    return f"CoTAM {loaded.backend.checkpoint.name}"


def run(folder: Path, models: list[str], rivals: list[str], limit: int | None) -> dict[str, Any]:
    """All curves and BD-rates; the first model is what the others' PSNR is compared with."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in {".png", ".jpg", ".jpeg"})[
        :limit
    ]
    pictures = [read_pixels(p) for p in paths]
    loaded = [codec.load(model) for model in models]
    curves = {curve_name(one): measure_cotam(one, pictures) for one in loaded}
    first, *others = curves
    curves |= {name: measure_rival(RIVALS[name], pictures) for name in rivals}
    return {
        "set": folder.name,
        "pictures": len(pictures),
        "machine": describe(),
        "weights": {one.backend.checkpoint.name: facts_of(one, curves, rivals) for one in loaded},
        "bd_psnr": {
            f"{name} against {first}": round(bd_psnr(curves[first], curves[name]), 3)
            for name in others
        },
        "curves": curves,
    }


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pictures", type=Path, default=None, help="a folder; Kodak below COTAM_DATA by default"
    )
    parser.add_argument("--models", default=MODELS, help="names or paths, with commas")
    parser.add_argument("--rivals", default="JPEG,WebP,AVIF")
    parser.add_argument("--limit", type=int, default=None, help="only the first pictures")
    add_options(parser)
    options = parser.parse_args()
    result = run(
        options.pictures or default_pictures(),
        options.models.split(","),
        options.rivals.split(","),
        options.limit,
    )
    if not hand_over(result, options):
        for name, facts in result["weights"].items():
            print(
                f"{name} on {result['pictures']} pictures of {result['set']}: BD-rate (PSNR) {facts['bd_rate_psnr']}"
            )
            print(f"BD-rate (MS-SSIM) {facts['bd_rate_ms_ssim']}")
        print(result["bd_psnr"])
        for name, points in result["curves"].items():
            print(name, "  ".join(f"{p['bpp']:.3f}/{p['psnr']:.2f}" for p in points))


if __name__ == "__main__":
    main()
