"""Guides compared with uniform steps, with the shipped weights: `python -m benchmarks.guides`.

No weights and no guide were trained with an independent judge.

::

    eval/imagenet, eval/detection, eval/receipts x guides x qualities -> rows (in a file)
    rows -> BD-rates against uniform steps, by judge and guide
    BD-rates of the independent judges -> one mean for each guide
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks import tasks
from benchmarks.guides.tables import mean_of
from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.task_rows import ORIGINAL, measure
from codec.errors import CodecError
from codec.evaluation.codecs.cotam import student_hash
from codec.evaluation.codecs.variants import UNIFORM, Setup
from codec.evaluation.judges import data_root
from codec.evaluation.machine import describe
from codec.evaluation.rows import RowsFile, collect
from codec.guidance import STRENGTH
from codec.weights import checkpoint

PHOTOGRAPHS = "photographs"
JUDGES = (PHOTOGRAPHS, "yolox", "ocr")
SCORES = ("lite0_feature_error", "deit_token_mse_last", "pixels_mse", "score_error", "recall")
GUIDES = (
    "default",
    "shallow:3",
    "local",
    "calm",
    "paper-teacher",
    "shallow:1",
    "shallow:6",
    "shallow:3@0.25",
    "shallow:3@1",
    "local@1",
)
QUALITIES = (5.0, 15.0, 28.0, 42.0, 58.0)


def run(
    plan: tasks.Plan, file: RowsFile, processes: int, only_finished: bool = False
) -> dict[str, Any]:
    """Measure missing rows, and compare all guides with uniform steps.

    Args:
        plan: what to measure.
        file: the file of rows.
        processes: number of worker processes.
        only_finished: measure nothing, and use only pictures that have all rows.

    Returns:
        The result: curves, BD-rates, and what they were measured with.

    Raises:
        CodecError: weights or a library are missing.
    """
    judges, skipped = tasks.judges_of(
        plan, lambda name: plan.limit if name == PHOTOGRAPHS else plan.slow_limit
    )
    for judge, _ in judges.values():
        # Rows have all scores. Only some are used: computing intervals of the others takes minutes.
        judge.scores = {name: how for name, how in judge.scores.items() if name in SCORES}
    if only_finished:
        judges = tasks.finished(plan, judges, file)
    collect(tasks.jobs_of(plan, judges, file), partial(measure, setup=plan.setup), file, processes)
    tables = {
        name: tasks.table_of(plan, judge, samples, file)
        for name, (judge, samples) in judges.items()
    }
    rates = {name: tasks.against_anchor(table, plan.variants) for name, table in tables.items()}
    weights = checkpoint.load(plan.setup.model)
    return {
        "model": weights.name,
        "fingerprint": weights.fingerprint.hex(),
        "student": student_hash(),
        "strength": plan.setup.strength,
        "machine": describe(),
        "judge_note": {name: table.judge.note for name, table in tables.items()},
        "skipped": skipped,
        "sets": {name: tasks.describe_set(table) for name, table in tables.items()},
        "curves": {
            name: {s: table.points(s) for s in table.rates if s != ORIGINAL}
            for name, table in tables.items()
        },
        "bd_rate": rates,
        "mean_of_judges_that_never_taught": {
            guide: mean_of(rates, guide) for guide in plan.variants if guide != UNIFORM
        },
    }


def merged(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Join results of different judges, or of different guides before one judge.

    Args:
        results: results of `run` with the same weights. If two have the same judge, the guides of
            both are kept, and the last one describes the set of pictures.

    Returns:
        One result.
    """
    joined: dict[str, Any] = {}
    for result in results:
        joined |= {key: value for key, value in result.items() if not isinstance(value, dict)}
        for key, value in result.items():
            if isinstance(value, dict):
                joined[key] = joined.get(key, {}) | value
        joined["bd_rate"] = {
            judge: {
                guide: rates
                for one in results
                for guide, rates in one["bd_rate"].get(judge, {}).items()
            }
            for judge in joined["bd_rate"]
        }
    guides = {guide: None for rates in joined["bd_rate"].values() for guide in rates}
    means = {guide: mean_of(joined["bd_rate"], guide) for guide in guides}
    return joined | {"mean_of_judges_that_never_taught": means}


def show(result: dict[str, Any]) -> None:
    """Print a readable summary."""
    for name, reason in result["skipped"].items():
        print(f"{name} is left out: {reason}")
    for name, guides in result["bd_rate"].items():
        print(f"\n{name}, {result['sets'][name]['pictures']} pictures, against uniform steps")
        for guide, rates in guides.items():
            cells = [f"{score} {tasks.in_words(value)}" for score, value in rates.items()]
            print(f"  {guide:16}" + "\n                  ".join(cells))
    print("\nmean of the judges that never taught")
    for guide, value in result["mean_of_judges_that_never_taught"].items():
        print(f"  {guide:16}" + ("-" if value is None else f"{value:+.1f} %"))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--guides", default=",".join(GUIDES))
    parser.add_argument("--judges", default=",".join(JUDGES))
    parser.add_argument("--limit", type=int, default=48, help="photographs")
    parser.add_argument("--others", type=int, default=24, help="pictures of each other judge")
    parser.add_argument("--qualities", default=",".join(f"{q:g}" for q in QUALITIES))
    parser.add_argument("--model", default="default")
    parser.add_argument("--slope", type=float, default=None, help="as of `cotam encode`")
    parser.add_argument(
        "--finished", action="store_true", help="measure nothing; use pictures with all rows"
    )
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes")
    parser.add_argument("--rows", type=Path, default=None, help="where measured rows are kept")
    parser.add_argument(
        "--merge", type=Path, nargs="*", default=[], help="measure nothing; join these results"
    )
    add_options(parser)
    options = parser.parse_args()
    plan = tasks.Plan(
        Setup(options.model, data_root(), STRENGTH, slope=options.slope),
        tuple(name for name in options.judges.split(",") if name),
        tuple(dict.fromkeys((UNIFORM, *filter(None, options.guides.split(","))))),
        (),
        tuple(float(q) for q in options.qualities.split(",")),
        options.limit,
        options.others,
    )
    if options.merge:
        result = merged([json.loads(path.read_text()) for path in options.merge])
        if not hand_over(result, options):
            show(result)
        return
    if options.rows is None:
        raise SystemExit("guides: say where rows are kept: --rows FILE")
    try:
        result = run(plan, RowsFile(options.rows), options.jobs, options.finished)
    except CodecError as error:
        raise SystemExit(f"guides: {error}") from None
    if not hand_over(result, options):
        show(result)


if __name__ == "__main__":
    main()
