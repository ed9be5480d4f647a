"""Rate-distortion curves of real files on a folder: `python -m benchmarks.rd --json`."""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import bjontegaard
import numpy as np

import codec
from benchmarks.lib.output import add_options, hand_over
from codec.evaluation import codecs
from codec.evaluation.codecs import CodecUnderTest, codec_under_test
from codec.evaluation.distortion import Pixels, in_db, ms_ssim, psnr
from codec.evaluation.judges import data_root, read_pixels
from codec.evaluation.machine import describe

Points = list[dict[str, float]]
QUALITIES = (0, 6, 12, 18, 24, 30, 36, 42, 48, 54, 60, 66, 72, 80, 90, 100)
# Qualities of other codecs, dense enough for Akima interpolation over RANGE. A codec that is not
# listed has the qualities of the registry.
RIVAL_QUALITIES = {
    "jpeg": (3.0, 6.0, 10.0, 15.0, 22.0, 30.0, 40.0, 52.0, 65.0, 75.0, 84.0),
    "webp": (1.0, 5.0, 12.0, 22.0, 35.0, 48.0, 60.0, 72.0, 80.0, 86.0, 90.0),
    "avif": (12.0, 20.0, 28.0, 36.0, 44.0, 52.0, 60.0, 68.0, 76.0, 84.0),
}
# BD-rates use the anchor's points in this range of bits per pixel.
RANGE = (0.1, 1.0)
# Factors by which the test curve may extend beyond RANGE, so that its ends are interpolated.
BELOW = 3
ABOVE = 1.5
LEAST_OVERLAP = 0.5
TITLE = "CoTAM"
MODELS = "small-mse,small,tiny"
RIVALS = "jpeg,webp,avif"
# Number of bytes of a file that are not entropy-coded.
HEADER = 20
SUFFIXES = (".png", ".jpg", ".jpeg")


def default_pictures() -> Path:
    """The folder of the Kodak pictures below COTAM_DATA."""
    return data_root() / "eval" / "kodak"


def rival_qualities(name: str) -> tuple[float, ...]:
    """The qualities that a rival is measured at.

    Args:
        name: name in the registry. `avif-444`, for example, has the qualities of `avif`.

    Returns:
        Qualities from coarse to fine; only one if the codec's quality is fixed.
    """
    listed = codec_under_test(name).qualities
    return RIVAL_QUALITIES.get(name.partition("-")[0], listed) if len(listed) > 1 else listed


def point(quality: float, rows: Points) -> dict[str, float]:
    """A point of a curve: means over pictures, and the quality."""
    return {"quality": quality} | {
        key: float(np.mean([row[key] for row in rows])) for key in rows[0]
    }


def distortions(original: Pixels, decoded: Pixels) -> dict[str, float]:
    """psnr in dB, and ms_ssim in 0..1; nan for pictures that are too small for MS-SSIM."""
    similarity = ms_ssim(original, decoded)
    return {
        "psnr": psnr(original, decoded),
        "ms_ssim": float("nan") if similarity is None else similarity,
    }


def measure_rival(
    rival: CodecUnderTest, qualities: tuple[float, ...], pictures: list[Pixels]
) -> Points:
    """A rival's curve.

    Args:
        rival: the codec.
        qualities: coarse to fine.
        pictures: uint8 [H, W, 3] each.

    Returns:
        At each quality, means of bpp, psnr and ms_ssim.
    """
    points = []
    for quality in qualities:
        rows = []
        for pixels in pictures:
            data = rival.encode(pixels, quality)
            bpp = len(data) * 24 / pixels.size
            rows.append({"bpp": bpp} | distortions(pixels, rival.decode(data)))
        points.append(point(quality, rows))
    return points


def measure_cotam(cotam: codec.Codec, pictures: list[Pixels]) -> Points:
    """CoTAM's curve; at a quality, all pictures have the same QP.

    Args:
        cotam: the codec.
        pictures: uint8 [H, W, 3] each.

    Returns:
        At each quality, means of bpp, psnr, ms_ssim and excess. The excess is the bytes without the
        header, divided by the entropy of the model's integer tables, minus 1.
    """
    points = []
    for quality in QUALITIES:
        rows = []
        for pixels in pictures:
            encoded = cotam.encode_full(
                pixels, tool="learned", quality=quality, want_bits=True, guide="uniform", slope=0
            )
            decoded = cotam.decode(encoded.data, output="array")
            assert encoded.bits is not None
            rates = {
                "bpp": len(encoded.data) * 24 / pixels.size,
                "excess": (len(encoded.data) - HEADER) * 8 / float(encoded.bits.sum()) - 1,
            }
            rows.append(rates | distortions(pixels, decoded))
        points.append(point(quality, rows))
    return points


def bd_rate(anchor: Points, test: Points, score: str = "psnr") -> float:
    """BD-rate over the anchor's points in RANGE.

    Args:
        anchor: the curve that `test` is compared with.
        test: a curve.
        score: "psnr" or "ms_ssim"; the latter in decibels.

    Returns:
        The additional rate of `test` in percent of the anchor's; negative if `test` needs less.
    """
    low, high = RANGE
    scale = in_db if score == "ms_ssim" else float
    inside = [p for p in anchor if low <= p["bpp"] <= high]
    near = [p for p in test if low / BELOW <= p["bpp"] <= high * ABOVE]
    return float(
        bjontegaard.bd_rate(
            [p["bpp"] for p in inside],
            [scale(p[score]) for p in inside],
            [p["bpp"] for p in near],
            [scale(p[score]) for p in near],
            method="akima",
            require_matching_points=False,
            min_overlap=LEAST_OVERLAP,
        )
    )


def bd_psnr(anchor: Points, test: Points) -> float:
    """Mean PSNR gain of the test curve over the anchor in RANGE, in decibels."""
    inside = [
        [p for p in points if RANGE[0] / ABOVE <= p["bpp"] <= RANGE[1] * ABOVE]
        for points in (anchor, test)
    ]
    values = [[p[key] for p in points] for points in inside for key in ("bpp", "psnr")]
    return float(
        bjontegaard.bd_psnr(
            *values, method="akima", require_matching_points=False, min_overlap=LEAST_OVERLAP
        )
    )


def comparable(points: Points) -> bool:
    """Whether a curve has at least two points in RANGE, which bjontegaard needs for a BD-rate."""
    return sum(RANGE[0] <= p["bpp"] <= RANGE[1] for p in points) > 1


def facts_of(cotam: codec.Codec, curves: dict[str, Points], rivals: list[str]) -> dict[str, Any]:
    """Facts about a set of weights, in addition to its curve.

    Args:
        cotam: the codec.
        curves: title -> curve.
        rivals: titles of other codecs.

    Returns:
        Fingerprint, BD-rates, range of rates, whether it is monotone, and the largest excess.
    """
    points = curves[curve_name(cotam)]
    rates = [p["bpp"] for p in points]
    anchors = [name for name in rivals if comparable(curves[name])]
    return {
        "fingerprint": cotam.fingerprint,
        "bd_rate_psnr": {name: round(bd_rate(curves[name], points), 2) for name in anchors},
        "bd_rate_ms_ssim": {
            name: round(bd_rate(curves[name], points, "ms_ssim"), 2) for name in anchors
        },
        "range_bpp": [min(rates), max(rates)],
        "monotone": all(a < b for a, b in pairwise(rates)),
        "largest_excess": max(p["excess"] for p in points),
    }


def curve_name(cotam: codec.Codec) -> str:
    """The key of a CoTAM curve in results, tables and plots."""
    return f"{TITLE} {cotam.backend.checkpoint.name}"


def run(folder: Path, models: list[str], rivals: list[str], limit: int | None) -> dict[str, Any]:
    """Measure all curves and BD-rates.

    Args:
        folder: the folder of pictures.
        models: weights by name or path; the PSNR of each is compared with that of the first.
        rivals: names of other codecs in the registry.
        limit: use only this many first pictures; None for all.

    Returns:
        The result; curves and BD-rates by the codecs' titles.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)[:limit]
    pictures = [read_pixels(path) for path in paths]
    loaded = [codec.load(model) for model in models]
    curves = {curve_name(one): measure_cotam(one, pictures) for one in loaded}
    first, *others = curves
    opened = {name: codec_under_test(name) for name in rivals}
    titles = [rival.name for rival in opened.values()]
    for name, rival in opened.items():
        curves[rival.name] = measure_rival(rival, rival_qualities(name), pictures)
    return {
        "set": folder.name,
        "pictures": len(pictures),
        "machine": describe(),
        "systems": {rival.name: rival.identity for rival in opened.values()},
        "weights": {one.backend.checkpoint.name: facts_of(one, curves, titles) for one in loaded},
        "bd_psnr": {
            f"{name} against {first}": round(bd_psnr(curves[first], curves[name]), 3)
            for name in others
        },
        "curves": curves,
    }


def add_rivals(result: dict[str, Any], rivals: list[str], folder: Path) -> dict[str, Any]:
    """Measure further codecs, and compare the curves of an earlier result with them.

    Args:
        result: a result of `run` on the same pictures.
        rivals: names of the codecs in the registry.
        folder: the folder of pictures.

    Returns:
        The result with more curves, systems and BD-rates.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    pictures = [read_pixels(path) for path in paths[: result["pictures"]]]
    curves = dict(result["curves"])
    systems = dict(result.get("systems", {}))
    weights = {name: dict(facts) for name, facts in result["weights"].items()}
    for name in rivals:
        rival = codec_under_test(name)
        points = measure_rival(rival, rival_qualities(name), pictures)
        curves[rival.name] = points
        systems[rival.name] = rival.identity
        if not comparable(points):
            continue
        for model, facts in weights.items():
            for score in ("psnr", "ms_ssim"):
                rate = round(bd_rate(points, curves[f"{TITLE} {model}"], score), 2)
                facts[f"bd_rate_{score}"] = facts[f"bd_rate_{score}"] | {rival.name: rate}
    return result | {"curves": curves, "systems": systems, "weights": weights}


def show(result: dict[str, Any]) -> None:
    """Print a readable summary."""
    for name, facts in result["weights"].items():
        print(f"{name} on {result['pictures']} pictures of {result['set']}")
        print(f"BD-rate (PSNR) {facts['bd_rate_psnr']}")
        print(f"BD-rate (MS-SSIM) {facts['bd_rate_ms_ssim']}")
    print(result["bd_psnr"])
    for name, identity in result["systems"].items():
        print(f"{name}: {identity}")
    for name, points in result["curves"].items():
        print(name, "  ".join(f"{p['bpp']:.3f}/{p['psnr']:.2f}" for p in points))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pictures", type=Path, default=None, help="a folder; Kodak below COTAM_DATA by default"
    )
    parser.add_argument("--models", default=MODELS, help="names or paths, with commas")
    parser.add_argument("--rivals", default=RIVALS, help="names in the registry, with commas")
    parser.add_argument("--limit", type=int, default=None, help="only the first pictures")
    parser.add_argument(
        "--add", type=Path, default=None, help="an earlier result to add these rivals to"
    )
    add_options(parser)
    options = parser.parse_args()
    try:
        rivals = list(codecs.names(options.rivals))
        folder = options.pictures or default_pictures()
        if options.add:
            result = add_rivals(json.loads(options.add.read_text()), rivals, folder)
        else:
            result = run(folder, options.models.split(","), rivals, options.limit)
    except (codec.CodecError, OSError) as error:
        raise SystemExit(f"rd: {error}") from None
    if not hand_over(result, options):
        show(result)


if __name__ == "__main__":
    main()
