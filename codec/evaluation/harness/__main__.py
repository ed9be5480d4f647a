"""`python -m codec.evaluation.harness`: score against bytes, for tasks of lmms-eval."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from codec.errors import CodecError
from codec.evaluation.codecs import names
from codec.evaluation.harness.lmms import Run, contenders, evaluate
from codec.evaluation.rows import Row

RESULT = "harness.json"


def markdown(rows: list[Row]) -> str:
    """A table: a row for each codec and quality, a column for each score."""
    columns = [(task, metric) for task, values in rows[0]["scores"].items() for metric in values]
    head = ["codec", "quality", "bytes a picture", "bpp", *(f"{t}: {m}" for t, m in columns)]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        cells = [
            row["codec"],
            "" if row["quality"] is None else f"{row['quality']:g}",
            "" if row["bytes"] is None else f"{row['bytes_per_picture']:.0f}",
            "" if row["bytes"] is None else f"{row['bpp']:.3f}",
            *(
                f"{row['scores'].get(task, {}).get(metric, float('nan')):.4g}"
                for task, metric in columns
            ),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m codec.evaluation.harness", description=__doc__)
    made.add_argument("--model", required=True, help="lmms-eval's name, such as qwen2_5_vl")
    made.add_argument("--model-args", default="", help="as for lmms-eval: pretrained=...,...")
    made.add_argument("--tasks", required=True, help="names separated by commas")
    made.add_argument("--include-path", help="a folder with more tasks")
    made.add_argument("--codecs", default="cotam", help="such as cotam,jpeg,webp,avif")
    made.add_argument("--qualities", default="", help="such as 20,40,60; default: each codec's own")
    made.add_argument("--out", type=Path, default=Path("harness"), help="folder for the result")
    made.add_argument("--limit", type=int, help="use so many questions of each task")
    made.add_argument("--batch-size", type=int, default=1)
    made.add_argument("--device", help="such as cuda:0")
    return made


def main(arguments: list[str] | None = None) -> None:
    """Command line."""
    options = parser().parse_args(arguments)
    more: dict[str, Any] = {"limit": options.limit, "batch_size": options.batch_size}
    more |= {"device": options.device, "log_samples": False}
    try:
        tasks = tuple(options.tasks.split(","))
        run = Run(options.model, options.model_args, tasks, more, options.include_path)
        qualities = [float(text) for text in options.qualities.split(",") if text]
        pairs = contenders(names(options.codecs), qualities)
        rows = evaluate(run, pairs, options.out)
    except (CodecError, ValueError) as error:
        sys.exit(f"harness: {error}")
    (options.out / RESULT).write_text(json.dumps(rows, indent=1) + "\n")
    print(markdown(rows))


if __name__ == "__main__":
    main()
