"""From rows to curves of means and BD-rates with intervals: results.json and results.csv."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codec.evaluation.bd import PERCENTILES, RESAMPLES, Measured, compare, resampled
from codec.evaluation.inputs import Input
from codec.evaluation.machine import describe
from codec.evaluation.measure import Setup, key_of, label
from codec.evaluation.metrics import METRICS, Metric
from codec.evaluation.rows import Row, RowsFile

Floats = NDArray[np.float64]
# compressai's names for our metrics, so that its plots can read our results.
COMPRESSAI = {
    "psnr": "psnr-rgb",
    "ms-ssim": "ms-ssim-rgb",
    "encode": "encoding_time",
    "decode": "decoding_time",
}
COLUMNS = ("picture", "codec", "quality", "bytes", "bpp", "encode_s", "decode_s")


@dataclass(frozen=True)
class Curve:
    """One metric of one codec, over the pictures that have a value.

    Attributes:
        title: of the codec.
        qualities: coarse to fine.
        rates: bits per pixel [pictures, qualities].
        scores: [pictures, qualities].
    """

    title: str
    qualities: tuple[float, ...]
    rates: Floats
    scores: Floats

    def interval(self) -> tuple[Floats, Floats]:
        """2.5 and 97.5 % of the mean score over resampled pictures, [qualities] each."""
        low, high = np.percentile(resampled(len(self.scores)) @ self.scores, PERCENTILES, axis=0)
        return low, high


@dataclass(frozen=True)
class Summary:
    """Everything that was measured.

    Attributes:
        setup: codecs, metrics and judges.
        titles: codec -> its title.
        pictures: those that could be read.
        rows: (codec, quality, digest of a picture) -> row.
        curves: metric -> codec -> curve, without metrics that no picture has a value of.
        left_out: metric, codec or picture -> why it was left out.
    """

    setup: Setup
    titles: dict[str, str]
    pictures: list[Input]
    rows: dict[tuple[str, float, str], Row]
    curves: dict[str, dict[str, Curve]]
    left_out: dict[str, str]

    def times(self, codec: str) -> dict[str, list[float]]:
        """Rates and times of a codec.

        Args:
            codec: its name in the registry.

        Returns:
            At each quality, bpp: the mean; encode, decode: medians of seconds per megapixel.
        """
        qualities = next(q for name, _, q in self.setup.codecs if name == codec)
        columns: dict[str, list[float]] = {"bpp": [], "encode": [], "decode": []}
        for quality in qualities:
            rows = [self.rows[codec, quality, picture.digest] for picture in self.pictures]
            megapixels = np.array([row["bytes"] * 8 / row["bpp"] / 1e6 for row in rows])
            columns["bpp"].append(float(np.mean([row["bpp"] for row in rows])))
            for what in ("encode", "decode"):
                seconds = np.array([row[what] for row in rows])
                columns[what].append(float(np.median(seconds / megapixels)))
        return columns


def summary_of(
    setup: Setup,
    titles: dict[str, str],
    pictures: list[Input],
    file: RowsFile,
    left_out: dict[str, str],
) -> Summary:
    """Summarise rows.

    Args:
        setup: codecs, metrics and judges.
        titles: codec -> its title.
        pictures: those that could be read.
        file: has a row for every codec, quality and picture.
        left_out: metric, codec or picture -> why it was left out.

    Returns:
        The summary.
    """
    rows = {
        (name, quality, picture.digest): file.rows[key_of(identity, quality, picture)]
        for name, identity, qualities in setup.codecs
        for quality in qualities
        for picture in pictures
    }
    curves = {name: _curves(METRICS[name], setup, titles, pictures, rows) for name in setup.metrics}
    return Summary(
        setup,
        titles,
        pictures,
        rows,
        {name: by_codec for name, by_codec in curves.items() if by_codec},
        left_out,
    )


def _curves(
    metric: Metric,
    setup: Setup,
    titles: dict[str, str],
    pictures: list[Input],
    rows: dict[tuple[str, float, str], Row],
) -> dict[str, Curve]:
    def value(name: str, quality: float, picture: Input) -> float | None:
        return rows[name, quality, picture.digest]["scores"][label(metric, picture, setup.settings)]

    # Codecs with random weights have no scores: only their times and file sizes are measured.
    judged = [
        (name, qualities)
        for name, _, qualities in setup.codecs
        if any(value(name, q, picture) is not None for q in qualities for picture in pictures)
    ]
    everywhere = [(name, quality) for name, qualities in judged for quality in qualities]
    kept = [
        picture
        for picture in pictures
        if all(value(name, q, picture) is not None for name, q in everywhere)
    ]
    if not kept or not judged:
        return {}
    curves = {}
    for name, qualities in judged:
        rates = np.array(
            [[rows[name, q, picture.digest]["bpp"] for q in qualities] for picture in kept]
        )
        scores = np.array(
            [[value(name, q, picture) for q in qualities] for picture in kept], dtype=float
        )
        curves[name] = Curve(titles[name], qualities, rates, scores)
    return curves


def bd_rates(summary: Summary) -> dict[str, dict[str, dict[str, float | None]]]:
    """BD-rates of the first codec.

    Returns:
        Metric -> other codec -> percent of its rate that the first codec needs more at equal score,
        with an interval, as bd.compare returns it.
    """
    rates: dict[str, dict[str, dict[str, float | None]]] = {}
    first = summary.setup.codecs[0][0]
    for metric, curves in summary.curves.items():
        if first not in curves:
            continue
        (_, test), *others = curves.items()
        measured = Measured(test.rates, test.scores)
        rates[metric] = {
            name: compare(Measured(curve.rates, curve.scores), measured, METRICS[metric].direction)
            for name, curve in others
        }
    return rates


def document(summary: Summary) -> dict[str, Any]:
    """The content of results.json.

    Each codec has an entry as compressai's evaluation writes it (name, description, results), with
    `codec` and `qualities` added.
    """
    codecs = []
    for name, identity, qualities in summary.setup.codecs:
        spent = summary.times(name)
        results: dict[str, list[float]] = {"bpp": spent["bpp"]}
        for metric, curves in summary.curves.items():
            if name in curves:
                results[COMPRESSAI.get(metric, metric)] = curves[name].scores.mean(0).tolist()
        results |= {
            COMPRESSAI[what] + "_per_megapixel": spent[what] for what in ("encode", "decode")
        }
        entry = {"name": summary.titles[name], "description": identity, "results": results}
        codecs.append(entry | {"codec": name, "qualities": list(qualities)})
    first = summary.setup.codecs[0][0]
    return {
        "pictures": len(summary.pictures),
        "metrics": {name: METRICS[name].title for name in summary.curves},
        "left_out": summary.left_out,
        "machine": describe(),
        "codecs": codecs,
        "bd_rate_of": first,
        "bd_rate": bd_rates(summary),
        "bd_note": (
            f"percent of rate at equal mean score; low, high: {PERCENTILES} % of {RESAMPLES} "
            "resamples of the pictures"
        ),
    }


def write_results(summary: Summary, folder: Path) -> dict[str, Any]:
    """Write results.json, results.csv and compressai/CODEC.json.

    The latter are for `python -m compressai.utils.plot`.

    Args:
        summary: of all codecs.
        folder: where the files are written.

    Returns:
        The content of results.json.
    """
    results = document(summary)
    (folder / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    single = folder / "compressai"
    single.mkdir(exist_ok=True)
    for entry in results["codecs"]:
        name = entry["codec"].replace(":", "-").replace("/", "-")
        (single / f"{name}.json").write_text(json.dumps(entry, indent=1) + "\n")
    with (folder / "results.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*COLUMNS, *summary.setup.metrics])
        writer.writerows(_lines(summary))
    return results


def _lines(summary: Summary) -> Iterator[list[object]]:
    """One line of results.csv for each picture, codec and quality."""
    setup = summary.setup
    for picture in summary.pictures:
        labels = [label(METRICS[name], picture, setup.settings) for name in setup.metrics]
        for name, _, qualities in setup.codecs:
            for quality in qualities:
                row = summary.rows[name, quality, picture.digest]
                scores = [row["scores"][key] for key in labels]
                yield [
                    picture.path.name,
                    name,
                    f"{quality:g}",
                    row["bytes"],
                    *(f"{row[key]:.6g}" for key in ("bpp", "encode", "decode")),
                    *("" if score is None else f"{score:.6g}" for score in scores),
                ]
