"""The tables of docs/screens.md, from committed JSON."""

from __future__ import annotations

from typing import Any

from benchmarks.lib.markdown import interval, load, rows_to_markdown

# Name of a result -> its pictures.
SETS = {"screens": "screenshots (eval/screens)", "screens_charts": "charts (eval/charts)"}
# Name of a result -> the result for the same pictures with AVIF's best settings and `--effort 9`.
BEST = {"screens": "screens_best", "screens_charts": "screens_charts_best"}
ANCHORS = ("AVIF", "AVIF 4:4:4", "AVIF best")
# Title in the registry -> name of the tool in the table.
TOOLS = {
    "CoTAM": "chosen by the picture",
    "CoTAM, effort 9": "the same with `--effort 9`",
    "CoTAM, av1": "`av1` for all",
    "CoTAM, palette": "`palette` for all",
}
JUDGES = {"tokens": "tokens", "words": "words read"}
# Size of the pictures -> results whose curves are shown in one table.
SIZES = {
    "native size": ("screens", "screens_rivals"),
    "within 1456x819": ("screens_client", "screens_rivals_client"),
}
# The rows of the table for codecs that were measured at many qualities.
SHOWN_QUALITIES = (5.0, 20.0, 50.0, 60.0, 85.0)


def screen_rates(name: str, judge: str) -> dict[str, dict[str, Any]]:
    """BD-rates of a set by AVIF's settings and by the codecs' titles.

    Args:
        name: a key of SETS.
        judge: a key of JUDGES.

    Returns:
        One dictionary for each of ANCHORS, with those titles that were measured.
    """
    measured = [load(result)["bd_rate"].get(judge, {}) for result in (BEST[name], name)]
    return {
        anchor: {title: rate for rates in measured for title, rate in rates.get(anchor, {}).items()}
        for anchor in ANCHORS
    }


def screens_table() -> str:
    """BD-rates of the screen tools against AVIF, at equal token error and at equal words read."""
    rows = []
    for name, pictures in SETS.items():
        result = load(name)
        for judge in result["bd_rate"]:
            rates = screen_rates(name, judge)
            for title, tool in TOOLS.items():
                against = [interval(rates[anchor].get(title)) for anchor in ANCHORS]
                if set(against) != {"-"}:
                    rows.append([f"{result['pictures']} {pictures}", tool, JUDGES[judge], *against])
    identities = load(BEST["screens"])["systems"] | load("screens")["systems"]
    head = ["pictures", "tool", "at equal", *(identities[name] for name in ANCHORS)]
    return rows_to_markdown(head, rows)


def screen_costs_table() -> str:
    """Time, memory and lossless size of screens."""
    result = load("screen_costs")
    width, height = result["size"]
    times = result["milliseconds"]
    threads = f"{width}x{height}, {result['threads']} threads, {result['pictures']} pictures"
    rows = [
        [
            f"{way} in process, {threads}",
            f"{times[f'cotam {way}']:.0f} ms",
            f"{times[f'avif {way}']:.0f} ms",
        ]
        for way in ("encode", "decode")
    ]
    for name, cost in result["commands"].items():
        spent = f"{cost['seconds']:.2f} s, {cost['peak_mb']:.0f} MB"
        rows.append([f"whole command `cotam {name}`", spent, "-"])
    for folder, ratios in result["lossless"].items():
        for settings, ratio in ratios.items():
            name = f"lossless bytes of {folder}, relative to WebP ({settings})"
            rows.append([name, f"{ratio:.3f}", "-"])
    rows.append(_client_row())
    return rows_to_markdown(["what", "CoTAM", "AVIF speed 6"], rows)


def _client_row() -> list[str]:
    """Bytes compared with the JPEG that a client sends, with at least as many words read."""
    result = load("screens_client")
    width, height = result["size"]
    ours = result["against_client"]["CoTAM"]
    found = round(ours["pictures"] * result["pictures"])
    name = (
        f"bytes of a screenshot reduced to {width}x{height}, relative to JPEG 75, at the smallest "
        f"quality with no fewer words read ({found} of {result['pictures']} pictures have one)"
    )
    return [name, f"{ours['mean']:.3f}", "-"]


def screen_rivals_table() -> str:
    """Rate, token error and words read of every codec, at each size."""
    rows = []
    for size, names in SIZES.items():
        for name in names:
            result = load(name)
            words = result["curves"]["words"]
            tokens = result["curves"].get("tokens", {})
            for title, curve in words.items():
                errors = {point["quality"]: point["score"] for point in tokens.get(title, [])}
                for point in curve:
                    if len(curve) > 1 and point["quality"] not in SHOWN_QUALITIES:
                        continue
                    error = errors.get(point["quality"])
                    shown = title if len(curve) == 1 else f"{title}, {point['quality']:g}"
                    rows.append(
                        [
                            f"{result['pictures']}, {size}",
                            shown,
                            f"{point['bpp']:.3f}",
                            "-" if error is None else f"{error:.3f}",
                            f"{point['score']:.3f}",
                        ]
                    )
    head = ["screenshots", "codec, quality", "bits per pixel", "token error", "words read"]
    return rows_to_markdown(head, rows)
