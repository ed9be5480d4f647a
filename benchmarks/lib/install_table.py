"""The table of docs/packaging.md, from committed JSON."""

from __future__ import annotations

from benchmarks.lib.markdown import load, rows_to_markdown


def installs_table() -> str:
    """Megabytes and seconds of an install with each extra."""
    result = load("install")
    rows = [
        [
            f"`cotam[{name}]`" if name != "plain" else "`cotam`",
            f"{one['bytes'] / 1e6:,.0f} MB",
            f"{one['seconds']:.0f} s",
            "clean" if one["clean"] else "conflicts",
        ]
        for name, one in result["installs"].items()
    ]
    return rows_to_markdown(["install", "size", "time of pip", "`pip check`"], rows)
