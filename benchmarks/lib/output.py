"""Output options of all benchmarks: JSON on stdout with --json, in a file with --out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --json and --out."""
    parser.add_argument("--json", action="store_true", help="print the whole result")
    parser.add_argument("--out", type=Path, default=None, help="also write the result here")


def hand_over(result: dict[str, Any], options: argparse.Namespace) -> bool:
    """Write and print a result according to the options.

    Args:
        result: any value that can be written as JSON.
        options: the command line's options, with `json` and `out`.

    Returns:
        Whether the result was printed. If not, the caller prints a summary.
    """
    text = json.dumps(result, indent=1)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(text + "\n")
    if options.json:
        print(text)
    return bool(options.json)
