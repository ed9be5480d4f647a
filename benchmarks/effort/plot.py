"""Plot the bytes that effort levels save over their time: `python -m benchmarks.effort.plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

from benchmarks.effort.tables import DEFAULT, PREFIX
from benchmarks.lib.markdown import ROOT, load

TARGET = ROOT / "docs" / "effort.svg"
# Label -> score of the judge `photographs`.
SCORES = {
    "features of EfficientNet-Lite0": "lite0_feature_error",
    "last tokens of DeiT-Tiny (the teacher)": "deit_token_mse_last",
    "PSNR": "pixels_mse",
}

Points = list[tuple[float, float, str]]


def points(result: dict[str, Any], score: str) -> Points:
    """Time and rate of each level that was timed and judged.

    Args:
        result: a result of `python -m benchmarks.effort`, with times.
        score: a score of the judge `photographs`.

    Returns:
        (seconds, BD-rate in percent against the default level, level), fastest first.
    """
    rates = result["bd_rate"][DEFAULT]["photographs"]
    found = []
    for name, ms in result["times"]["ms"].items():
        value = 0.0 if name == DEFAULT else rates.get(name, {}).get(score, {}).get("value")
        if value is not None:
            found.append((ms / 1000, value, name.removeprefix(PREFIX)))
    return sorted(found)


def draw(result: dict[str, Any], target: Path) -> None:
    """Write the plot as SVG.

    Args:
        result: a result of `python -m benchmarks.effort`, with times.
        target: the file.
    """
    matplotlib.use("Agg")
    # Without a fixed salt, the same plot would have different bytes in every run.
    matplotlib.rcParams["svg.hashsalt"] = "cotam"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    for label, score in SCORES.items():
        seconds, percent, levels = zip(*points(result, score))
        axes.plot(seconds, percent, "o-", label=label, ms=3)
        for at in zip(seconds, percent, levels):
            axes.annotate(at[2], at[:2], textcoords="offset points", xytext=(0, 5), fontsize=7)
    times = result["times"]
    axes.set(
        xscale="log",
        xlabel=f"seconds for {times['size']}, {times['threads']} threads",
        ylabel="rate at equal score against the default, %",
    )
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(target, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """Draw docs/effort.svg."""
    draw(load("effort"), TARGET)


if __name__ == "__main__":
    main()
