"""Rate against what a machine still sees, real file bytes with the QP map's included: `python -m benchmarks.tasks --json [-j 2]`.

::

    judges' pictures x systems x qualities -> rows (kept in a file) -> curves of means -> BD-rate with intervals
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.output import add_options, hand_over
from codec.errors import CodecError
from codec.evaluation.bd import LEAST_OVERLAP, PERCENTILES, RESAMPLES, Measured, compare
from codec.evaluation.coders import (
    BASE,
    NO_MAPS,
    QUALITIES,
    SAME_QP,
    TOKEN_VARIANTS,
    TOKENS,
    TUNED,
    VARIANTS,
    Setup,
    qualities,
    student_hash,
)
from codec.evaluation.judges import (
    JUDGES,
    Judge,
    JudgeUnavailable,
    Sample,
    data_root,
    load_judge,
    spread,
)
from codec.evaluation.machine import describe
from codec.evaluation.rivals import RIVALS
from codec.evaluation.rows import ORIGINAL, Job, RowsFile, collect, key_of, measure
from codec.guidance import STRENGTH
from codec.weights import checkpoint

ANCHOR = "uniform"
AGAINST_RIVALS = ("uniform", "default")
OWN_SETS = tuple(
    name for name in JUDGES if name != "vqa"
)  # judges whose pictures lie below COTAM_DATA
ORACLE = "oracle"
TOWER_JUDGE = "deit"
SLOW = (ORACLE, TUNED)
FINER = (
    "yolox",
)  # judges whose score jumps with every box from one quality to the next: more of them are measured
RESULTS = Path(__file__).resolve().parent / "results"
Curve = list[dict[str, float]]
Rates = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Plan:
    """What is measured. limit, slow_limit: pictures per judge, None for all."""

    setup: Setup
    judges: tuple[str, ...]
    variants: tuple[str, ...]
    rivals: tuple[str, ...]
    qualities: tuple[float, ...]
    limit: int | None = None
    slow_limit: int | None = None


@dataclass(frozen=True)
class Table:
    """The rows of one judge: system -> its pictures, its qualities, bits per pixel and scores, each [pictures, qualities]."""

    judge: Judge
    pictures: dict[str, list[str]]
    qualities: dict[str, tuple[float, ...]]
    rates: dict[str, np.ndarray]
    scores: dict[str, dict[str, np.ndarray]]

    def points(self, system: str) -> Curve:
        """Means over the system's pictures."""
        columns = {"bpp": self.rates[system]} | self.scores[system]
        means = {name: values.mean(0) for name, values in columns.items()}
        return [
            {"quality": q} | {name: float(v[k]) for name, v in means.items()}
            for k, q in enumerate(self.qualities[system])
        ]

    def compare(self, anchor: str, test: str) -> Rates:
        """BD-rate of `test` against `anchor` by score, over the pictures that both have."""
        common = [name for name in self.pictures[anchor] if name in set(self.pictures[test])]
        rows = [[self.pictures[system].index(name) for name in common] for system in (anchor, test)]
        found = {}
        for score, direction in self.judge.scores.items():
            a, b = (
                Measured(self.rates[s][r], self.scores[s][score][r])
                for s, r in zip((anchor, test), rows)
            )
            found[score] = compare(a, b, direction)
        return found


def of_base(plan: Plan) -> tuple[str, ...]:
    """The other weights' systems: those that are compared with everything else."""
    return tuple(BASE + v for v in AGAINST_RIVALS if v in plan.variants) if plan.setup.base else ()


def systems(
    plan: Plan, judge: str, samples: list[Sample]
) -> dict[str, tuple[list[Sample], tuple[float, ...]]]:
    """system -> (its pictures, its qualities). Tokens and the oracle know DeiT-Tiny only; what is slow takes part of the set."""
    found: dict[str, tuple[list[Sample], tuple[float, ...]]] = {ORIGINAL: (samples, (0.0,))}
    for name in plan.variants + of_base(plan) + plan.rivals:
        if judge != TOWER_JUDGE and (name == ORACLE or name.startswith(TOKENS)):
            continue
        wanted = qualities(name, plan.qualities, judge in FINER)
        found[name] = spread(samples, plan.slow_limit if name in SLOW else None), wanted
    return found


def jobs_of(plan: Plan, judges: dict[str, tuple[Judge, list[Sample]]], file: RowsFile) -> list[Job]:
    """All rows that the file does not hold, by picture."""
    jobs = []
    for name, (_, samples) in judges.items():
        wanted = systems(plan, name, samples)
        for sample in samples:
            pairs = [(s, q) for s, (its, qs) in wanted.items() if sample in its for q in qs]
            todo = tuple(
                (s, q)
                for s, q in pairs
                if key_of(name, sample.path.name, s, q, plan.setup) not in file.rows
            )
            if todo:
                jobs.append(Job(name, sample, todo))
    return jobs


def table_of(plan: Plan, judge: Judge, samples: list[Sample], file: RowsFile) -> Table:
    """Everything of one judge; all rows must be there."""
    wanted = systems(plan, judge.name, samples)
    table = Table(judge, {}, {}, {}, {})
    for system, (its, qs) in wanted.items():
        rows = [
            [file.rows[key_of(judge.name, sample.path.name, system, q, plan.setup)] for q in qs]
            for sample in its
        ]
        table.pictures[system] = [sample.path.name for sample in its]
        table.qualities[system] = qs
        table.rates[system] = np.array([[row["bpp"] for row in picture] for picture in rows])
        table.scores[system] = {
            score: np.array([[row["scores"][score] for row in picture] for picture in rows])
            for score in judge.scores
        }
    return table


def against_anchor(table: Table, variants: Iterable[str], prefix: str = "") -> dict[str, Rates]:
    """variant -> BD-rates against uniform steps; prefix: of the systems of other weights."""
    if prefix + ANCHOR not in table.rates:
        return {}
    return {
        v: table.compare(prefix + ANCHOR, prefix + v)
        for v in variants
        if v not in (ANCHOR, SAME_QP) and prefix + v in table.rates
    }


def against_rivals(table: Table, plan: Plan) -> dict[str, dict[str, Rates]]:
    """rival -> variant -> BD-rates."""
    ours = [
        v
        for v in (*AGAINST_RIVALS, TUNED, *TOKEN_VARIANTS)
        if v in plan.variants and v in table.rates
    ]
    return {rival: {v: table.compare(rival, v) for v in ours} for rival in plan.rivals}


def against_same_qp(table: Table) -> Rates:
    """Score -> BD-rate of uniform steps, each picture's from what it costs, against one QP for all pictures."""
    return table.compare(SAME_QP, ANCHOR) if {SAME_QP, ANCHOR} <= set(table.rates) else {}


def against_untuned(table: Table) -> Rates:
    """Score -> BD-rate of tuned files against those of the same guide."""
    return table.compare("default", TUNED) if {"default", TUNED} <= set(table.rates) else {}


def against_pixels(table: Table) -> dict[str, Rates]:
    """variant -> BD-rates of its files by tokens against the same files by pixels."""
    pairs = [(name.removeprefix(TOKENS), name) for name in TOKEN_VARIANTS]
    return {
        pixels: table.compare(pixels, tokens)
        for pixels, tokens in pairs
        if {pixels, tokens} <= set(table.rates)
    }


def against_base(table: Table, plan: Plan) -> dict[str, Rates]:
    """variant -> BD-rates against the other weights with the same guide, each with the slope that it has.

    same-qp: against their uniform steps, where these are one QP for all pictures, too.
    """
    found = {
        name.removeprefix(BASE): table.compare(name, name.removeprefix(BASE))
        for name in of_base(plan)
    }
    if {SAME_QP, BASE + ANCHOR} <= set(table.rates) and not plan.setup.slope_of(
        checkpoint.load(plan.setup.base or "")
    ):
        found[SAME_QP] = table.compare(BASE + ANCHOR, SAME_QP)
    return found


def run(plan: Plan, file: RowsFile, processes: int = 1) -> dict[str, Any]:
    """Measure what is missing; all curves and BD-rates. Raises CodecError."""
    judges = {}
    skipped = {}
    for name in plan.judges:
        try:
            judge = load_judge(name, plan.setup.data)
            judges[name] = judge, spread(judge.pictures(), plan.limit)
        except JudgeUnavailable as error:
            skipped[name] = str(error)
    collect(jobs_of(plan, judges, file), partial(measure, setup=plan.setup), file, processes)
    tables = {
        name: table_of(plan, judge, samples, file) for name, (judge, samples) in judges.items()
    }
    guided = any(v not in NO_MAPS for v in plan.variants)
    loaded = checkpoint.load(plan.setup.model)
    base = None
    if plan.setup.base:
        other = checkpoint.load(plan.setup.base)
        found = {name: against_anchor(table, plan.variants, BASE) for name, table in tables.items()}
        base = {"model": other.name, "fingerprint": other.fingerprint.hex(), "bd_rate": found}
    return {
        "model": loaded.name,
        "fingerprint": loaded.fingerprint.hex(),
        "student": student_hash() if guided else None,
        "strength": plan.setup.strength,
        "slope": plan.setup.slope_of(loaded),
        "machine": describe(),
        "judge_note": {name: table.judge.note for name, table in tables.items()},
        "skipped": skipped,
        "bd_note": (
            "percent of rate at equal mean score, Akima over isotonic fits; null where scores overlap in less than "
            f"{LEAST_OVERLAP:.0%} of the shorter range; low, high: "
            f"{PERCENTILES[0]} and {PERCENTILES[1]} % of {RESAMPLES} resamples of the pictures"
        ),
        "sets": {name: describe_set(table) for name, table in tables.items()},
        "curves": {
            name: {system: table.points(system) for system in table.rates if system != ORIGINAL}
            for name, table in tables.items()
        },
        "bd_rate": {name: against_anchor(table, plan.variants) for name, table in tables.items()},
        "base": base,
        "bd_rate_slope": {name: against_same_qp(table) for name, table in tables.items()},
        "bd_rate_tuned": {name: against_untuned(table) for name, table in tables.items()},
        "bd_rate_tokens": {name: against_pixels(table) for name, table in tables.items()},
        "bd_rate_base": {name: against_base(table, plan) for name, table in tables.items()},
        "bd_rate_rivals": {name: against_rivals(table, plan) for name, table in tables.items()},
    }


def describe_set(table: Table) -> dict[str, Any]:
    """originals: mean scores before any coding, bpp of the files as they are; pictures: by system."""
    counts = {system: len(names) for system, names in table.pictures.items()}
    everything = counts.pop(ORIGINAL)
    originals = {
        name: value for name, value in table.points(ORIGINAL)[0].items() if name != "quality"
    }
    fewer = {system: count for system, count in counts.items() if count < everything}
    return {
        "folder": table.judge.folder,
        "pictures": everything,
        "pictures_of_some": fewer,
        "originals": originals,
    }


def show(result: dict[str, Any]) -> None:
    """A summary for people."""
    for name, reason in result["skipped"].items():
        print(f"{name} is left out: {reason}")
    for name, curves in result["curves"].items():
        about = result["sets"][name]
        rates = result["bd_rate"][name]
        print(
            f"\n{name}: {result['judge_note'][name]}\n{about['pictures']} pictures of {about['folder']}, {result['model']}"
        )
        first = next(score for score in about["originals"] if score != "bpp")
        print(f"bpp/{first}; originals {about['originals'][first]:.3f}")
        for system, points in curves.items():
            print(f"  {system:18}" + "  ".join(f"{p['bpp']:.3f}/{p[first]:.3f}" for p in points))
        shown = {f"{variant} against {ANCHOR}": found for variant, found in rates.items()}
        shown |= {
            f"{ANCHOR} against {SAME_QP}": found
            for found in [result["bd_rate_slope"][name]]
            if found
        }
        shown |= {
            f"{TUNED} against default": found for found in [result["bd_rate_tuned"][name]] if found
        }
        shown |= {
            f"{v}, tokens against pixels": found
            for v, found in result["bd_rate_tokens"][name].items()
        }
        shown |= {
            f"{v} against {result['base']['model']}": found
            for v, found in result["bd_rate_base"][name].items()
        }
        for rival, variants in result["bd_rate_rivals"][name].items():
            shown |= {f"{variant} against {rival}": found for variant, found in variants.items()}
        print("BD-rate, %" if shown else "")
        for title, found in shown.items():
            print(
                f"  {title:36}"
                + "  ".join(f"{score} {in_words(values)}" for score, values in found.items())
            )


def in_words(values: dict[str, float | None]) -> str:
    """'-5.1 (-7.0..-3.2)', a dash where there is none."""
    if values["value"] is None:
        return "-"
    if values["low"] is None:
        return f"{values['value']:+.1f}"
    return f"{values['value']:+.1f} ({values['low']:+.1f}..{values['high']:+.1f})"


def chosen(text: str, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """The names in a list with commas. Ends the program for an unknown one."""
    names = tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in known:
            raise SystemExit(f"tasks: {what} are {', '.join(known)}, not '{name}'")
    return names


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--rivals", default=",".join(RIVALS), help="'' for none")
    parser.add_argument("--judges", default=",".join(OWN_SETS))
    parser.add_argument(
        "--limit", type=int, default=None, help="only so many pictures of each judge, evenly spaced"
    )
    parser.add_argument(
        "--slow-limit", type=int, default=30, help="pictures for the oracle and for tuned files"
    )
    parser.add_argument("--qualities", default=",".join(f"{q:g}" for q in QUALITIES))
    parser.add_argument("--model", default="default")
    parser.add_argument(
        "--base", default=None, help="other weights, to compare with under the same guides"
    )
    parser.add_argument("--strength", type=float, default=STRENGTH)
    parser.add_argument(
        "--slope",
        type=float,
        default=None,
        help="as of `cotam encode`; the weights' own if not given",
    )
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes")
    parser.add_argument("--rows", type=Path, default=None, help="where measured rows are kept")
    add_options(parser)
    return parser.parse_args()


def main() -> None:
    """Command line."""
    options = options_of()
    setup = Setup(options.model, data_root(), options.strength, options.base, options.slope)
    plan = Plan(
        setup,
        chosen(options.judges, OWN_SETS, "judges"),
        chosen(options.variants, VARIANTS + TOKEN_VARIANTS, "variants"),
        chosen(options.rivals, tuple(RIVALS), "rivals"),
        tuple(float(q) for q in options.qualities.split(",")),
        options.limit,
        options.slow_limit,
    )
    try:
        rows = (
            options.rows
            or RESULTS / f".rows-{checkpoint.load(options.model).fingerprint.hex()}.jsonl"
        )
        result = run(plan, RowsFile(rows), max(1, options.jobs))
    except CodecError as error:
        raise SystemExit(f"tasks: {error}") from None
    if not hand_over(result, options):
        show(result)


if __name__ == "__main__":
    main()
