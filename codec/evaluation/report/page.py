"""The report's page: index.html, one file that works without a network."""

from __future__ import annotations

import base64
import html
import json
from dataclasses import asdict
from pathlib import Path
from string import Template
from typing import Any

from codec import web
from codec.evaluation.report.same_size import Shown
from codec.evaluation.report.summary import Summary

TEMPLATE = Path(__file__).with_name("page.html")
# A part of `cotam view` that is also embedded in this page, as a script.
SLIDER = Path("parts", "slider.js")


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in HTML.

    Args:
        head: the cells of the first row, as HTML.
        rows: the cells of the others, as HTML.

    Returns:
        The element.
    """
    top = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def rate(values: dict[str, float | None]) -> str:
    """A BD-rate in HTML: '-12.3 % (-15.0..-9.1)', coloured by its sign; a dash for none."""
    if values["value"] is None:
        return "-"
    spread = "" if values["low"] is None else f" ({values['low']:+.1f}..{values['high']:+.1f})"
    kind = "less" if values["value"] < 0 else "more"
    return f'<span class="{kind}">{values["value"]:+.1f} %</span>{spread}'


def bd_table(results: dict[str, Any], titles: dict[str, str]) -> str:
    """The first codec's BD-rates against the others, in HTML.

    Args:
        results: as in results.json.
        titles: codec -> its title.

    Returns:
        The element.
    """
    compared = results["bd_rate"].values()
    others = [name for name in titles if any(name in against for against in compared)]
    head = ["at equal", *(f"against {html.escape(titles[name])}" for name in others)]
    rows = [
        [
            html.escape(results["metrics"][metric]),
            *(rate(against[name]) if name in against else "-" for name in others),
        ]
        for metric, against in results["bd_rate"].items()
    ]
    return table(head, rows) if others else "<p>There is nothing to compare.</p>"


def time_table(summary: Summary) -> str:
    """Times in HTML: means over qualities of medians over pictures."""
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
    """A plot as an element that holds its whole file."""
    data = base64.b64encode(svg.read_bytes()).decode()
    alt = f"curves: {html.escape(name)}"
    return f'<img src="data:image/svg+xml;base64,{data}" alt="{alt}" loading="lazy">'


def write_page(
    summary: Summary,
    results: dict[str, Any],
    plots: dict[str, Path],
    shown: list[Shown],
    folder: Path,
) -> Path:
    """Write index.html.

    Args:
        summary: curves and times.
        results: as in results.json.
        plots: name -> SVG.
        shown: pictures for the slider.
        folder: where the page is written.

    Returns:
        The page.
    """
    machine = results["machine"]
    titles = summary.titles
    versions = [f"{name} {value}" for name, value in machine["versions"].items()]
    # Without a "<", no name of a file can end the script early.
    data = json.dumps([asdict(entry) for entry in shown]).replace("<", "\\u003c")
    missing = "".join(
        f"<li>{html.escape(name)}: {html.escape(why)}</li>"
        for name, why in results["left_out"].items()
    )
    lead = f"{html.escape(', '.join(titles.values()))}: whole files, decoded again"
    codecs = [f"{entry['name']}: {entry['description']}" for entry in results["codecs"]]
    page = Template(TEMPLATE.read_text()).substitute(
        title="Codecs side by side",
        lead=f"{lead}; pictures: {results['pictures']}.",
        about=html.escape(
            ", ".join([f"{machine['cores']} cores of {machine['processor']}", *versions])
            + ". "
            + "; ".join(codecs)
        ),
        bd_note=html.escape(
            f"Rate of {titles[results['bd_rate_of']]}: {results['bd_note']}. Less is better."
        ),
        bd_table=bd_table(results, titles),
        plots="".join(embedded(path, name) for name, path in plots.items()),
        time_table=time_table(summary),
        left_out=f"<section><h2>Left out</h2><ul>{missing}</ul></section>" if missing else "",
        slider=(web.FOLDER / SLIDER).read_text().replace("export function", "function"),
        data=data,
    )
    target = folder / "index.html"
    target.write_text(page)
    return target
