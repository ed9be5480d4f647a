"""The README's picture from committed JSON: `python -m benchmarks.plot`."""

from __future__ import annotations

import matplotlib

from benchmarks.tables import ROOT, load

TARGET = ROOT / "docs" / "rd.svg"
COLOURS = {"CoTAM small-mse": "#c2185b", "CoTAM small": "#f48fb1", "JPEG": "#777777", "WebP": "#1f77b4", "AVIF": "#2ca02c"}


def main() -> None:
    """Rate-distortion curves, as SVG."""
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "cotam"
    from matplotlib import pyplot

    result = load("rd")
    figure, axes = pyplot.subplots(figsize=(7, 4))
    for name, points in result["curves"].items():
        width = 2.5 if name.startswith("CoTAM") else 1.5
        axes.plot([p["bpp"] for p in points], [p["psnr"] for p in points], "o-", label=name, color=COLOURS[name], lw=width, ms=3)
    axes.set(xlim=(0, 1.3), ylim=(22, 37), xlabel="bits per pixel (whole files)", ylabel="PSNR, dB")
    axes.set_title(f"Kodak, mean of {result['pictures']} pictures", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(TARGET, metadata={"Date": None})


if __name__ == "__main__":
    main()
