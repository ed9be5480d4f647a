"""The table of guides, scored by independent judges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.lib.markdown import interval, load, rows_to_markdown

# Judge and score of the independent judges: no weights and no guide were trained with them.
NEVER_TAUGHT = (
    ("photographs", "lite0_feature_error"),
    ("yolox", "score_error"),
    ("ocr", "recall"),
)
TITLES = {
    "default": "student",
    "shallow:1": "DeiT-Tiny's attention, first block",
    "shallow:3": "DeiT-Tiny's attention, first 3 blocks",
    "shallow:6": "DeiT-Tiny's attention, first 6 blocks",
    "paper-teacher": "the published preset of it",
    "local": "cost alone (`local`)",
    "calm": "variance alone",
}
JUDGES = {
    "lite0_feature_error": "features of EfficientNet-Lite0",
    "score_error": "class scores of YOLOX-Nano",
    "recall": "words read by Tesseract",
}
TEACHER = ("photographs", "deit_token_mse_last")
PIXELS = ("photographs", "pixels_mse")


def mean_of(rates: dict[str, Any], guide: str) -> float | None:
    """The mean BD-rate of a guide over the independent judges.

    Args:
        rates: judge -> guide -> score -> BD-rate.
        guide: name of the guide.

    Returns:
        Percent; None if a judge has no BD-rate.
    """
    values = [rates.get(j, {}).get(guide, {}).get(s, {}).get("value") for j, s in NEVER_TAUGHT]
    known = [value for value in values if value is not None]
    return round(sum(known) / len(known), 2) if len(known) == len(values) else None


def title_of(guide: str) -> str:
    """The title of a guide, for example 'student, strength 1' for "default@1"."""
    kind, at, strength = guide.partition("@")
    return TITLES.get(kind, kind) + (f", strength {strength}" if at else "")


def guides_table() -> str:
    """Guides compared with uniform steps, by judge."""
    result = load("guides")
    rates = result["bd_rate"]
    measures = (*NEVER_TAUGHT, TEACHER, PIXELS)
    read_by = load("tasks_ocr")
    text = read_by["bd_rate"]["ocr"]
    # For receipts, an earlier result of the student has more pictures.
    known = rates | {"ocr": text | rates.get("ocr", {})}

    def row(title: str, of_guide: dict[str, Any], guide: str) -> list[str]:
        cells = [interval(of_guide.get(j, {}).get(guide, {}).get(score)) for j, score in measures]
        mean = mean_of(of_guide, guide)
        # The mean of the independent judges follows their columns.
        cells.insert(len(NEVER_TAUGHT), "-" if mean is None else f"{mean:+.1f} %")
        return [title, *cells]

    rows = [
        row(title_of(guide), known, guide) for guide in result["mean_of_judges_that_never_taught"]
    ]
    retrained = load("guides_retrained")["bd_rate"]
    rows.insert(1, row("student, trained for coding errors", retrained, "default"))
    counts = {judge: about["pictures"] for judge, about in result["sets"].items()}
    named = [f"{JUDGES[score]}, {counts.get(judge, 0)} pictures" for judge, score in NEVER_TAUGHT]
    named[-1] += f" (student: {read_by['sets']['ocr']['pictures']})"
    head = [f"rate of `{result['model']}` against uniform steps, at equal", *named, "mean"]
    return rows_to_markdown([*head, "last tokens of DeiT-Tiny (the teacher)", "PSNR"], rows)


def guide_times_table() -> str:
    """Milliseconds of an encode with and without a guide."""
    backends = {"torch": "PyTorch", "onnx": "ONNX Runtime"}
    result = load("guide_times")["milliseconds"]
    guides = list(next(iter(result.values())))
    rows = [
        [backends[backend], *(f"{spent[guide]:.0f} ms" for guide in guides)]
        for backend, spent in result.items()
    ]
    names = (f"`{guide}`" for guide in guides)
    return rows_to_markdown(["encode of 768x512, 2 cores", *names], rows)


GUIDE_TABLES: dict[str, Callable[[], str]] = {
    "guides": guides_table,
    "guide_times": guide_times_table,
}
