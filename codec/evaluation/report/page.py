"""index.html: one file that needs nothing else."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any

from codec.evaluation.report.same_size import Shown
from codec.evaluation.report.summary import Summary

TEMPLATE = Path(__file__).with_name("page.html")


def table(head: list[str], rows: list[list[str]]) -> str:
    """Cells are HTML already."""
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def rate(values: dict[str, float | None]) -> str:
    """'-12.3 % (-15.0..-9.1)' in a colour that says which way."""
    if values["value"] is None:
        return "-"
    spread = "" if values["low"] is None else f" ({values['low']:+.1f}..{values['high']:+.1f})"
    kind = "less" if values["value"] < 0 else "more"
    return f'<span class="{kind}">{values["value"]:+.1f} %</span>{spread}'


def bd_table(found: dict[str, Any], titles: dict[str, str]) -> str:
    others = [name for name in titles if name != found["bd_rate_of"]]
    head = ["at equal", *(f"against {html.escape(titles[name])}" for name in others)]
    rows = [
        [html.escape(found["metrics"][metric]), *(rate(against[name]) for name in others)]
        for metric, against in found["bd_rate"].items()
    ]
    return table(head, rows) if others else "<p>Only one codec was measured.</p>"


def time_table(summary: Summary) -> str:
    """Means over qualities of medians over pictures."""
    rows = []
    for name, title in summary.titles.items():
        spent = summary.times(name)
        cells = [
            f"{1000 * sum(spent[what]) / len(spent[what]):.0f} ms" for what in ("encode", "decode")
        ]
        rows.append([html.escape(title), *cells])
    return table(
        ["per megapixel, median over pictures, mean over qualities", "encode", "decode"], rows
    )


def embedded(svg: Path, name: str) -> str:
    data = base64.b64encode(svg.read_bytes()).decode()
    return f'<img src="data:image/svg+xml;base64,{data}" alt="curves: {html.escape(name)}" loading="lazy">'


def write_page(
    summary: Summary,
    found: dict[str, Any],
    plots: dict[str, Path],
    shown: list[Shown],
    folder: Path,
) -> Path:
    """found: results.json; plots: name -> SVG."""
    machine = found["machine"]
    titles = summary.titles
    versions = machine["versions"]
    data = json.dumps([asdict(entry) for entry in shown]).replace(
        "<", "\\u003c"
    )  # no tag can end the script early
    missing = "".join(
        f"<li>{html.escape(name)}: {html.escape(why)}</li>"
        for name, why in found["left_out"].items()
    )
    page = Template(TEMPLATE.read_text()).substitute(
        title="Codecs side by side",
        lead=f"{html.escape(', '.join(titles.values()))}: whole files, decoded again; pictures: {found['pictures']}.",
        about=html.escape(
            ", ".join(
                [
                    f"{machine['cores']} cores of {machine['processor']}",
                    *(f"{k} {v}" for k, v in versions.items()),
                ]
            )
        ),
        bd_note=html.escape(
            f"Rate of {titles[found['bd_rate_of']]}: {found['bd_note']}. Less is better."
        ),
        bd_table=bd_table(found, titles),
        plots="".join(embedded(path, name) for name, path in plots.items()),
        time_table=time_table(summary),
        left_out=f"<section><h2>Left out</h2><ul>{missing}</ul></section>" if missing else "",
        data=data,
    )
    target = folder / "index.html"
    target.write_text(page)
    return target
