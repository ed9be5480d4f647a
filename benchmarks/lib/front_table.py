"""The table of results in the README, from committed JSON."""

from __future__ import annotations

from typing import Any

from benchmarks.lib.markdown import interval, load, rows_to_markdown
from benchmarks.lib.screen_tables import screen_rates

# The sequence of screenshots in the table, and the size of its frames.
SCENE = "typing"
FRAMES = "1456x819"


def front_table() -> str:
    """Bytes saved against AVIF with usual and with best settings, by judge."""
    result = load("effort")
    effort = result["bd_rate"]
    count = result["sets"]["photographs"]["pictures"]
    lite0 = "EfficientNet-Lite0's features"
    score = "lite0_feature_error"
    photographs = [
        [
            name,
            lite0,
            *(
                interval(effort[avif]["photographs"][level][score])
                for avif in ("AVIF", "AVIF best")
            ),
        ]
        for name, level in ((f"{count} photographs", "effort-5"), ("with `--effort 9`", "effort-9"))
    ]
    screens = screen_rates("screens", "tokens")
    graphics = [
        [
            name,
            "DeiT-Tiny's tokens",
            *(interval(screens[avif].get(title)) for avif in ("AVIF", "AVIF best")),
        ]
        for name, title in (
            (f"{load('screens')['pictures']} screenshots", "CoTAM"),
            ("with `--effort 9`", "CoTAM, effort 9"),
        )
    ]
    head = ["pictures", "judge, equal score", "AVIF", "AVIF at its best"]
    return rows_to_markdown(head, [*photographs, *graphics, _stream_row()])


def _stream_row() -> list[str]:
    """Bytes of a sequence of screenshots compared with AVIF for every frame, and with video."""
    entries: list[dict[str, Any]] = load("streams")["sequences"]
    entry = next(e for e in entries if e["scene"] == SCENE and e["size"] == FRAMES)
    rates = entry["at_equal_tokens"]
    cells = [
        "-" if rates.get(k) is None else f"{100 * rates[k]:+.1f} %" for k in ("avif", "libaom")
    ]
    name = f"stream of {entry['frames']} screenshots"
    return [name, "DeiT-Tiny's tokens", *cells]
