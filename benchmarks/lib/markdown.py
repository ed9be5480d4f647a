"""Reads committed results and formats them as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"


def load(name: str) -> dict[str, Any]:
    """Load a committed result, given the name of its file without the suffix."""
    return json.loads((RESULTS / f"{name}.json").read_text())


def rows_to_markdown(head: list[str], rows: list[list[str]]) -> str:
    """A table.

    Args:
        head: the cells of the first row.
        rows: the cells of the others.

    Returns:
        Markdown that ends in a new line.
    """
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def at_rate(points: list[dict[str, float]], bpp: float, score: str = "psnr") -> str:
    """A score at a rate, linear in log rate between measured points.

    Args:
        points: the points of a curve, sorted by "bpp".
        bpp: bits per pixel.
        score: a key of the points.

    Returns:
        The score with two digits; a dash outside of the measured rates.
    """
    rates = [p["bpp"] for p in points]
    if not rates[0] <= bpp <= rates[-1]:
        return "-"
    return f"{np.interp(np.log(bpp), np.log(rates), [p[score] for p in points]):.2f}"


def interval(rate: dict[str, float | None] | None) -> str:
    """Format a BD-rate as '-5.1 % (-7.0..-3.2)'; a dash if the curves do not overlap."""
    if rate is None or rate["value"] is None:
        return "-"
    spread = "" if rate["low"] is None else f" ({rate['low']:+.1f}..{rate['high']:+.1f})"
    return f"{rate['value']:+.1f} %{spread}"
