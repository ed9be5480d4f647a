"""The table of docs/screens.md, from committed JSON."""

from __future__ import annotations

from benchmarks.lib.markdown import interval, load, rows_to_markdown

# Results and what they are of.
SETS = {"screens": "screenshots (eval/screens)", "screens_charts": "charts (eval/charts)"}
ANCHORS = ("AVIF", "AVIF 4:4:4")
TOOLS = ("CoTAM, av1", "CoTAM, palette", "CoTAM, screen")


def screens_table() -> str:
    """Rate at equal tokens of every screen tool, against AVIF."""
    rows = []
    for name, title in SETS.items():
        result = load(name)
        rates = result["bd_rate"]["tokens"]
        for tool in TOOLS:
            against = [interval(rates[anchor].get(tool)) for anchor in ANCHORS]
            rows.append([f"{result['pictures']} {title}", tool.partition(", ")[2], *against])
    identities = load("screens")["systems"]
    return rows_to_markdown(["pictures", "tool", *(identities[name] for name in ANCHORS)], rows)
