"""Rate-distortion, rate-task and time-rate as SVG and PNG."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray

from codec.evaluation.distortion import in_db
from codec.evaluation.metrics import METRICS
from codec.evaluation.report.summary import Curve, Summary

# The palette of Okabe and Ito, for any colour vision; markers distinguish the curves in grey.
COLOURS = ("#d55e00", "#000000", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def shown(values: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """Scores as they are plotted: MS-SSIM in decibels, others unchanged."""
    return np.array([in_db(v) for v in values]) if METRICS[metric].direction == "to-one" else values


def style(index: int) -> dict[str, Any]:
    """Colour, marker and width of a curve; the first codec's is wider."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "marker": MARKERS[index % len(MARKERS)],
        "ms": 4,
        "lw": 2.2 if index == 0 else 1.4,
    }


def draw_metric(axes: Any, metric: str, curves: dict[str, Curve]) -> None:
    """Draw mean scores over mean rates, with bands of their intervals over pictures.

    Args:
        axes: of matplotlib.
        metric: its name.
        curves: codec -> curve.
    """
    for index, curve in enumerate(curves.values()):
        rates = curve.rates.mean(0)
        axes.plot(rates, shown(curve.scores.mean(0), metric), label=curve.title, **style(index))
        if len(curve.scores) > 1:
            low, high = (shown(edge, metric) for edge in curve.interval())
            axes.fill_between(rates, low, high, color=style(index)["color"], alpha=0.12, lw=0)
    kind = METRICS[metric]
    title = f"{kind.title}, dB" if kind.direction == "to-one" else kind.title
    better = "lower is better" if kind.direction in ("lower", "log") else "higher is better"
    axes.set(
        xlabel="bits per pixel (whole files)", yscale="log" if kind.direction == "log" else "linear"
    )
    axes.set_title(f"{title} ({better})", fontsize=10)


def draw_times(axes: Any, summary: Summary, what: str) -> None:
    """Draw seconds per megapixel over the rate.

    Args:
        axes: of matplotlib.
        summary: of all codecs.
        what: "encode" or "decode".
    """
    for index, (name, title) in enumerate(summary.titles.items()):
        spent = summary.times(name)
        axes.plot(spent["bpp"], spent[what], label=title, **style(index))
    axes.set(xlabel="bits per pixel (whole files)", yscale="log")
    axes.set_title(f"seconds per megapixel to {what} (lower is better)", fontsize=10)


def write_plots(summary: Summary, folder: Path) -> dict[str, Path]:
    """Write a plot for each metric and for both times.

    Args:
        summary: of all codecs.
        folder: where they are written.

    Returns:
        Name of a plot -> its SVG; a PNG is written next to each.
    """
    matplotlib.use("Agg")
    # Without a fixed salt, the same plot would have different bytes in every run.
    matplotlib.rcParams["svg.hashsalt"] = "cotam"
    from matplotlib import pyplot

    files = {}
    for name in [*summary.curves, "encode", "decode"]:
        figure, axes = pyplot.subplots(figsize=(6, 4.2))
        if name in summary.curves:
            draw_metric(axes, name, summary.curves[name])
        else:
            draw_times(axes, summary, name)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=9)
        figure.tight_layout()
        files[name] = folder / f"{name}.svg"
        figure.savefig(files[name], metadata={"Date": None})
        figure.savefig(folder / f"{name}.png", dpi=150)
        pyplot.close(figure)
    return files
