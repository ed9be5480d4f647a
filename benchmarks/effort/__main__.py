"""Effort levels for photographs: time, and rate at equal scores: `python -m benchmarks.effort`.

::

    eval/imagenet, eval/detection, eval/receipts x efforts and AVIF x qualities -> rows (in a file)
    rows -> BD-rates against the default effort, and against AVIF
    one picture of 768x512 x all efforts, alternating -> milliseconds
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import Any

import torch

import codec
from benchmarks import tasks
from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.task_rows import ORIGINAL, measure
from benchmarks.lib.timing import medians
from codec.evaluation.codecs.variants import EFFORT, EFFORTS, Setup, identity
from codec.evaluation.judges import (
    data_root,
    read_pixels,
)
from codec.evaluation.machine import describe
from codec.evaluation.rows import RowsFile, collect
from codec.guidance import STRENGTH
from codec.tools.interface import DEFAULT_EFFORT
from codec.weights import checkpoint

PHOTOGRAPHS = "photographs"
JUDGES = (PHOTOGRAPHS, "yolox", "ocr")
RIVALS = "avif,avif-best"
QUALITIES = (5.0, 12.0, 22.0, 34.0, 48.0)
# The picture for the timings, 768x512, below COTAM_DATA.
TIMED = Path("eval") / "kodak" / "kodim05.png"
TIMED_QUALITY = 30
ANCHOR = f"{EFFORT}{DEFAULT_EFFORT}"


def times(data: Path, rounds: int) -> dict[str, Any]:
    """Milliseconds of `Codec.encode` by effort.

    Args:
        data: the folder COTAM_DATA.
        rounds: how often each effort is timed.

    Returns:
        picture, size, quality, threads, and `ms`: effort -> median milliseconds.
    """
    cotam = codec.load(device="cpu")
    pixels = read_pixels(data / TIMED)

    def call(effort: str) -> bytes:
        number = int(effort.removeprefix(EFFORT))
        return cotam.encode(pixels, quality=TIMED_QUALITY, tool="learned", effort=number)

    return {
        "picture": TIMED.name,
        "size": f"{pixels.shape[1]}x{pixels.shape[0]}",
        "quality": TIMED_QUALITY,
        "threads": torch.get_num_threads(),
        "ms": medians({effort: partial(call, effort) for effort in EFFORTS}, rounds),
    }


def run(
    plan: tasks.Plan, file: RowsFile, processes: int, only_finished: bool = False
) -> dict[str, Any]:
    """Measure missing rows and compare all systems.

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
    if only_finished:
        judges = tasks.finished(plan, judges, file)
    collect(tasks.jobs_of(plan, judges, file), partial(measure, setup=plan.setup), file, processes)
    tables = {
        name: tasks.table_of(plan, judge, samples, file)
        for name, (judge, samples) in judges.items()
    }
    against = {}
    for anchor in (ANCHOR, *plan.rivals):
        against[anchor] = {
            name: {v: table.compare(anchor, v) for v in plan.variants if v != anchor}
            for name, table in tables.items()
        }
    weights = checkpoint.load(plan.setup.model)
    return {
        "model": weights.name,
        "fingerprint": weights.fingerprint.hex(),
        "machine": describe(),
        "systems": {name: identity(name, plan.setup)[0] for name in plan.variants + plan.rivals},
        "judge_note": {name: table.judge.note for name, table in tables.items()},
        "skipped": skipped,
        "sets": {name: tasks.describe_set(table) for name, table in tables.items()},
        "curves": {
            name: {s: table.points(s) for s in table.rates if s != ORIGINAL}
            for name, table in tables.items()
        },
        "bd_rate": against,
    }


def show(result: dict[str, Any]) -> None:
    """Print a readable summary."""
    for effort, ms in result.get("times", {}).get("ms", {}).items():
        print(f"{effort:12} {ms:8.1f} ms")
    for name, reason in result["skipped"].items():
        print(f"{name} is left out: {reason}")
    for anchor, judges in result["bd_rate"].items():
        for name, systems in judges.items():
            print(f"\n{name}, {result['sets'][name]['pictures']} pictures, against {anchor}")
            for system, rates in systems.items():
                cells = [f"{score} {tasks.in_words(value)}" for score, value in rates.items()]
                print(f"  {system:12}" + "\n              ".join(cells))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--efforts", default="0,5,6,7,8,9")
    parser.add_argument("--rivals", default=RIVALS)
    parser.add_argument("--judges", default=",".join(JUDGES))
    parser.add_argument("--limit", type=int, default=150, help="photographs")
    parser.add_argument("--others", type=int, default=None, help="pictures of each other judge")
    parser.add_argument("--qualities", default=",".join(f"{q:g}" for q in QUALITIES))
    parser.add_argument("--rounds", type=int, default=9, help="of timing; 0 for none")
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes")
    parser.add_argument("--rows", type=Path, required=True, help="where measured rows are kept")
    parser.add_argument(
        "--finished", action="store_true", help="measure nothing; use pictures with all rows"
    )
    add_options(parser)
    options = parser.parse_args()
    efforts = tasks.chosen(
        ",".join(EFFORT + effort for effort in options.efforts.split(",")), EFFORTS, "efforts"
    )
    data = data_root()
    plan = tasks.Plan(
        Setup("default", data, STRENGTH),
        tuple(name for name in options.judges.split(",") if name),
        tuple(dict.fromkeys((ANCHOR, *efforts))),
        tasks.rivals_of(options.rivals),
        tuple(float(q) for q in options.qualities.split(",")),
        options.limit,
        options.others,
    )
    timed = {"times": times(data, options.rounds)} if options.rounds else {}
    result = timed | run(plan, RowsFile(options.rows), options.jobs, options.finished)
    if not hand_over(result, options):
        show(result)


if __name__ == "__main__":
    main()
