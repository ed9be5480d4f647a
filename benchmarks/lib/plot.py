"""Plot docs/rd.svg from committed results: `python -m benchmarks.lib.plot`."""

from __future__ import annotations

from typing import Any

import matplotlib

from benchmarks.lib.markdown import ROOT, load

TARGET = ROOT / "docs" / "rd.svg"
COLOURS = {
    "CoTAM small": "#c2185b",
    "CoTAM small-mse": "#f48fb1",
    "CoTAM tiny": "#9575cd",
    "JPEG": "#777777",
    "WebP": "#1f77b4",
    "AVIF": "#2ca02c",
}
# Label of a curve -> system in tasks.json.
SYSTEMS = {
    "CoTAM small": "default",
    "CoTAM small-mse": "base-default",
    "JPEG": "JPEG",
    "WebP": "WebP",
    "AVIF": "AVIF",
}


def draw(axes: Any, curves: dict[str, list[dict[str, float]]], score: str) -> None:
    """Plot a score over bits per pixel.

    Args:
        axes: axes of matplotlib.
        curves: label -> points with "bpp" and the score.
        score: a key of the points.
    """
    for name, points in curves.items():
        colour = COLOURS[name]
        width = 2.5 if name.startswith("CoTAM") else 1.5
        axes.plot(
            [p["bpp"] for p in points],
            [p[score] for p in points],
            "o-",
            label=name,
            color=colour,
            lw=width,
            ms=3,
        )
    axes.set_xlabel("bits per pixel (whole files)")
    axes.grid(alpha=0.3)


def main() -> None:
    """Plot the error of a vision tower's tokens, and PSNR, over the rate, as SVG."""
    matplotlib.use("Agg")
    # Without a fixed salt, the same plot would have different bytes in every run.
    matplotlib.rcParams["svg.hashsalt"] = "cotam"
    from matplotlib import pyplot

    psnr = load("rd")
    tasks = load("tasks")
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    judged = tasks["curves"]["deit"]
    draw(left, {name: judged[system] for name, system in SYSTEMS.items()}, "token_mse_last")
    left.set(xlim=(0.05, 0.85), yscale="log", ylabel="squared error of DeiT-Tiny's last tokens")
    left.set_title(
        f"{tasks['sets']['deit']['pictures']} pictures of ImageNet: lower is better", fontsize=10
    )
    draw(right, psnr["curves"], "psnr")
    right.set(xlim=(0, 1.3), ylim=(22, 37), ylabel="PSNR, dB")
    right.set_title(
        f"{psnr['pictures']} Kodak pictures, uniform steps: higher is better", fontsize=10
    )
    right.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(TARGET, metadata={"Date": None})


if __name__ == "__main__":
    main()
