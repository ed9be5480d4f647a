"""Rows to curves of means, BD-rates with intervals, results.json and results.csv."""

from __future__ import annotations

import csv
import json
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
# compressai's names where it has one
COMPRESSAI = {
    "psnr": "psnr-rgb",
    "ms-ssim": "ms-ssim-rgb",
    "encode": "encoding_time",
    "decode": "decoding_time",
}


@dataclass(frozen=True)
class Curve:
    """One metric of one codec over the pictures that have a value: rates and scores [pictures, qualities]."""

    title: str
    qualities: tuple[float, ...]
    rates: Floats
    scores: Floats

    def interval(self) -> tuple[Floats, Floats]:
        """2.5 and 97.5 % of the mean score over resampled pictures [qualities]."""
        low, high = np.percentile(resampled(len(self.scores)) @ self.scores, PERCENTILES, axis=0)
        return low, high


@dataclass(frozen=True)
class Summary:
    """curves: metric -> codec -> Curve; a metric without a value for any picture is left out. rows: as measured, by picture."""

    setup: Setup
    titles: dict[str, str]
    pictures: list[Input]
    rows: dict[tuple[str, float, str], Row]
    curves: dict[str, dict[str, Curve]]
    left_out: dict[str, str]

    def times(self, codec: str) -> dict[str, list[float]]:
        """Mean bits per pixel and the median of seconds per megapixel at each quality."""
        qualities = next(q for name, _, q in self.setup.codecs if name == codec)
        found: dict[str, list[float]] = {"bpp": [], "encode": [], "decode": []}
        for quality in qualities:
            rows = [self.rows[codec, quality, picture.digest] for picture in self.pictures]
            found["bpp"].append(float(np.mean([row["bpp"] for row in rows])))
            for what in ("encode", "decode"):
                found[what].append(
                    float(
                        np.median(
                            [row[what] / (row["bytes"] * 8 / row["bpp"] / 1e6) for row in rows]
                        )
                    )
                )
        return found


def summary_of(
    setup: Setup,
    titles: dict[str, str],
    pictures: list[Input],
    file: RowsFile,
    left_out: dict[str, str],
) -> Summary:
    """titles: codec -> its name for people; pictures: those that could be read; all rows must be there."""
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
        {name: found for name, found in curves.items() if found},
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

    everywhere = [(name, quality) for name, _, qualities in setup.codecs for quality in qualities]
    kept = [
        picture
        for picture in pictures
        if all(value(name, q, picture) is not None for name, q in everywhere)
    ]
    if not kept:
        return {}
    found = {}
    for name, _, qualities in setup.codecs:
        rates = np.array(
            [[rows[name, q, picture.digest]["bpp"] for q in qualities] for picture in kept]
        )
        scores = np.array(
            [[value(name, q, picture) for q in qualities] for picture in kept], dtype=float
        )
        found[name] = Curve(titles[name], qualities, rates, scores)
    return found


def bd_rates(summary: Summary) -> dict[str, dict[str, dict[str, float | None]]]:
    """metric -> other codec -> rate of the first codec at equal score against it, percent, with its interval."""
    found: dict[str, dict[str, dict[str, float | None]]] = {}
    for metric, curves in summary.curves.items():
        (_, test), *others = curves.items()
        measured = Measured(test.rates, test.scores)
        found[metric] = {
            name: compare(Measured(curve.rates, curve.scores), measured, METRICS[metric].direction)
            for name, curve in others
        }
    return found


def document(summary: Summary) -> dict[str, Any]:
    """results.json: for each codec an entry as compressai's evaluation writes it (name, description, results), and ours."""
    codecs = []
    for name, identity, qualities in summary.setup.codecs:
        spent = summary.times(name)
        results: dict[str, list[float]] = {"bpp": spent["bpp"]}
        for metric, curves in summary.curves.items():
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
        "bd_note": f"percent of rate at equal mean score; low, high: {PERCENTILES} % of {RESAMPLES} resamples of the pictures",
    }


def write_results(summary: Summary, folder: Path) -> dict[str, Any]:
    """results.json, results.csv, and compressai/CODEC.json for `python -m compressai.utils.plot`; returns the first."""
    found = document(summary)
    (folder / "results.json").write_text(json.dumps(found, indent=1) + "\n")
    single = folder / "compressai"
    single.mkdir(exist_ok=True)
    for entry in found["codecs"]:
        (single / f"{entry['codec'].replace(':', '-').replace('/', '-')}.json").write_text(
            json.dumps(entry, indent=1) + "\n"
        )
    with (folder / "results.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            [
                "picture",
                "codec",
                "quality",
                "bytes",
                "bpp",
                "encode_s",
                "decode_s",
                *summary.setup.metrics,
            ]
        )
        for picture in summary.pictures:
            names = [
                label(METRICS[name], picture, summary.setup.settings)
                for name in summary.setup.metrics
            ]
            for name, _, qualities in summary.setup.codecs:
                for quality in qualities:
                    row = summary.rows[name, quality, picture.digest]
                    values = [
                        "" if row["scores"][n] is None else f"{row['scores'][n]:.6g}" for n in names
                    ]
                    spent = [f"{row[key]:.6g}" for key in ("bpp", "encode", "decode")]
                    writer.writerow(
                        [picture.path.name, name, f"{quality:g}", row["bytes"], *spent, *values]
                    )
    return found
