"""The tables of docs/browser.md, from committed JSON."""

from __future__ import annotations

from typing import Any

from benchmarks.lib.markdown import load, rows_to_markdown


def _kilobytes(size: int) -> str:
    return f"{size / 1000:,.0f} kB"


def _milliseconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f} ms"


def web_sizes_table() -> str:
    """Bytes of the parts, and bytes loaded until the first preview and the first picture."""
    result = load("web")
    sizes = result["sizes"]
    parts: list[tuple[str, dict[str, int]]] = [
        ("page and module (all HTML, CSS and JavaScript of ours)", sizes["page"]),
        ("onnxruntime-web, for photographs only", sizes["runtime"]),
    ]
    for name, weights in sizes["weights"].items():
        parts.append((f"weights `{name}` until the preview", weights["preview"]))
        parts.append((f"weights `{name}`, all", weights["picture"]))
    rows = [[name, _kilobytes(one["files"]), _kilobytes(one["gzip"])] for name, one in parts]
    for name, weights in sizes["weights"].items():
        file = result["files"][f"`{name}`, 768x512"]
        for what, needed in (("preview", file["beginning"]), ("picture", file["bytes"])):
            cells = [
                _kilobytes(sizes["page"][how] + weights[what][how] + needed)
                + " + "
                + _kilobytes(sizes["runtime"][how])
                for how in ("files", "gzip")
            ]
            rows.append([f"until the first {what} by `{name}`, 768x512, + runtime", *cells])
    return rows_to_markdown(["what", "as files", "with gzip"], rows)


def web_times_table() -> str:
    """Milliseconds until preview and picture, at first use and warm."""
    result = load("web")
    machine = result["machine"]
    where = f"Chromium {result['chromium']}, one thread of {machine['processor']}"
    rows = []
    for name, facts in result["files"].items():
        spent: dict[str, Any] = facts["milliseconds"]
        cells = [
            _milliseconds(spent[when][what])
            for when in ("first", "warm")
            for what in ("preview", "picture")
        ]
        rows.append([name, _kilobytes(facts["bytes"]), *cells])
    head = [where, "file", "preview, first use", "picture, first use", "preview, warm"]
    return rows_to_markdown([*head, "picture, warm"], rows)
