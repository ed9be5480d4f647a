"""The table of docs/screens.md, from committed JSON."""

from __future__ import annotations

from benchmarks.lib.markdown import interval, load, rows_to_markdown

# Results and what they are of.
SETS = {"screens": "screenshots (eval/screens)", "screens_charts": "charts (eval/charts)"}
ANCHORS = ("AVIF", "AVIF 4:4:4")
# Titles of the registry and what the tool is called in the table.
TOOLS = {
    "CoTAM": "chosen by the picture",
    "CoTAM, av1": "`av1` for all",
    "CoTAM, palette": "`palette` for all",
}
JUDGES = {"tokens": "tokens", "words": "words read"}


def screens_table() -> str:
    """Rate at equal tokens and words of the screen tools, against AVIF."""
    rows = []
    for name, pictures in SETS.items():
        result = load(name)
        for judge, rates in result["bd_rate"].items():
            for title, tool in TOOLS.items():
                if title not in rates[ANCHORS[0]]:
                    continue
                against = [interval(rates[anchor][title]) for anchor in ANCHORS]
                rows.append([f"{result['pictures']} {pictures}", tool, JUDGES[judge], *against])
    identities = load("screens")["systems"]
    head = ["pictures", "tool", "at equal", *(identities[name] for name in ANCHORS)]
    return rows_to_markdown(head, rows)
