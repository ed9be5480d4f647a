"""Tables of the effort levels for photographs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.lib.markdown import interval, load, rows_to_markdown
from codec.tools.interface import DEFAULT_EFFORT

# Label of the score that is equal -> judge and score.
MEASURES = (
    ("final features of EfficientNet-Lite0", "photographs", "lite0_feature_error"),
    ("its cross-entropy of the label", "photographs", "lite0_cross_entropy"),
    ("its top-1", "photographs", "lite0_top1"),
    ("last tokens of DeiT-Tiny (the teacher)", "photographs", "deit_token_mse_last"),
    ("class scores of YOLOX-Nano", "yolox", "score_error"),
    ("its boxes, F1", "yolox", "f1"),
    ("words read by Tesseract on receipts", "ocr", "recall"),
    ("PSNR", "photographs", "pixels_mse"),
)
PREFIX = "effort-"
DEFAULT = f"{PREFIX}{DEFAULT_EFFORT}"


def effort_times_table() -> str:
    """Milliseconds of each level."""
    times = load("effort")["times"]
    levels = list(times["ms"])
    rows = [
        [
            f"{times['size']}, {times['threads']} threads",
            *(f"{ms:.0f} ms" for ms in times["ms"].values()),
        ]
    ]
    return rows_to_markdown(["effort", *(name.removeprefix(PREFIX) for name in levels)], rows)


def against(anchor: str) -> str:
    """BD-rates of the levels against a system, at equal scores."""
    result: dict[str, Any] = load("effort")
    rates = result["bd_rate"][anchor]
    levels = list(next(iter(rates.values())))
    rows = []
    for name, judge, score in MEASURES:
        if judge in rates:
            cells = [interval(rates[judge][level][score]) for level in levels]
            rows.append([f"{name}, {result['sets'][judge]['pictures']} pictures", *cells])
    said = "the default" if anchor == DEFAULT else anchor
    head = [f"rate against {said}, at equal", *(f"effort {v.removeprefix(PREFIX)}" for v in levels)]
    return rows_to_markdown(head, rows)


EFFORT_TABLES: dict[str, Callable[[], str]] = {
    "effort_times": effort_times_table,
    "effort": partial(against, DEFAULT),
    "effort_avif": partial(against, "AVIF"),
    "effort_avif_best": partial(against, "AVIF best"),
}
