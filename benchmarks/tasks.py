"""Rate against the scores of networks and programs: `python -m benchmarks.tasks`.

Rates are those of whole files, including QP maps.

::

    judges' pictures x systems x qualities -> rows (in a file)
    rows -> curves of means -> BD-rates with intervals
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lib.oracle import oracle_for
from benchmarks.lib.output import add_options, hand_over
from benchmarks.lib.task_rows import ORIGINAL, Job, key_of, measure
from codec.errors import CodecError
from codec.evaluation import codecs
from codec.evaluation.bd import LEAST_OVERLAP, PERCENTILES, RESAMPLES, Measured, compare
from codec.evaluation.codecs.cotam import student_hash
from codec.evaluation.codecs.pillow import SETTINGS
from codec.evaluation.codecs.variants import (
    BASE,
    DEFAULT,
    NO_MAPS,
    ORACLE,
    QUALITIES,
    SAME_QP,
    TOKEN_VARIANTS,
    TOKENS,
    TUNED,
    UNIFORM,
    VARIANTS,
    Setup,
    identity,
    qualities,
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
from codec.evaluation.rows import RowsFile, collect
from codec.guidance import STRENGTH
from codec.weights import checkpoint

# The variant that others are compared with.
ANCHOR = UNIFORM
AGAINST_RIVALS = (UNIFORM, DEFAULT)
RIVALS = "jpeg,webp,avif"
# Judges whose pictures are below COTAM_DATA. `photographs` combines several of them.
OWN_SETS = tuple(name for name in JUDGES if name not in ("vqa", "photographs"))
# The judge that supports tokens and the oracle.
TOWER_JUDGE = "deit"
# Systems that take minutes per picture.
SLOW = (ORACLE, TUNED)
# Judges that get more qualities, because their score depends on few boxes and is noisy.
FINER = ("yolox",)
RESULTS = Path(__file__).resolve().parent / "results"
Curve = list[dict[str, float]]
Rates = dict[str, dict[str, float | None]]


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        setup: weights and settings.
        judges: names of judges.
        variants: variants of CoTAM.
        rivals: titles of other formats.
        qualities: qualities of CoTAM.
        limit: pictures per judge; None for all.
        slow_limit: pictures per judge for SLOW systems; None for all.
    """

    setup: Setup
    judges: tuple[str, ...]
    variants: tuple[str, ...]
    rivals: tuple[str, ...]
    qualities: tuple[float, ...]
    limit: int | None = None
    slow_limit: int | None = None


@dataclass(frozen=True)
class Table:
    """The rows of one judge, by system.

    Attributes:
        judge: name of the judge.
        pictures: names of files.
        qualities: coarse to fine.
        rates: bits per pixel [pictures, qualities].
        scores: score -> [pictures, qualities].
    """

    judge: Judge
    pictures: dict[str, list[str]]
    qualities: dict[str, tuple[float, ...]]
    rates: dict[str, np.ndarray]
    scores: dict[str, dict[str, np.ndarray]]

    def has(self, *systems: str) -> bool:
        """Whether all of these systems were measured."""
        return set(systems) <= set(self.rates)

    def points(self, system: str) -> Curve:
        """Means over a system's pictures, at each of its qualities."""
        columns = {"bpp": self.rates[system]} | self.scores[system]
        means = {name: values.mean(0) for name, values in columns.items()}
        return [
            {"quality": q} | {name: float(v[k]) for name, v in means.items()}
            for k, q in enumerate(self.qualities[system])
        ]

    def compare(self, anchor: str, test: str) -> Rates:
        """BD-rates of `test` against `anchor`, over the pictures that both have.

        Args:
            anchor: a system.
            test: a system.

        Returns:
            Score -> percent and interval, as bd.compare returns it.
        """
        common = [name for name in self.pictures[anchor] if name in set(self.pictures[test])]
        rows = [[self.pictures[system].index(name) for name in common] for system in (anchor, test)]
        rates = {}
        for score, direction in self.judge.scores.items():
            a, b = (
                Measured(self.rates[s][r], self.scores[s][score][r])
                for s, r in zip((anchor, test), rows)
            )
            rates[score] = compare(a, b, direction)
        return rates


def of_base(plan: Plan) -> tuple[str, ...]:
    """Systems of the other weights (--base) that are compared with all others."""
    return tuple(BASE + v for v in AGAINST_RIVALS if v in plan.variants) if plan.setup.base else ()


def systems(
    plan: Plan, judge: str, samples: list[Sample]
) -> dict[str, tuple[list[Sample], tuple[float, ...]]]:
    """The systems that a judge scores.

    Only DeiT-Tiny scores tokens and the oracle. Slow systems have fewer pictures.

    Args:
        plan: what to measure.
        judge: name of the judge.
        samples: its pictures.

    Returns:
        System -> its pictures and its qualities.
    """
    work: dict[str, tuple[list[Sample], tuple[float, ...]]] = {ORIGINAL: (samples, (0.0,))}
    for name in plan.variants + of_base(plan) + plan.rivals:
        if judge != TOWER_JUDGE and (name == ORACLE or name.startswith(TOKENS)):
            continue
        pictures = spread(samples, plan.slow_limit if name in SLOW else None)
        work[name] = pictures, qualities(name, plan.qualities, judge in FINER)
    return work


def jobs_of(plan: Plan, judges: dict[str, tuple[Judge, list[Sample]]], file: RowsFile) -> list[Job]:
    """All missing rows, by picture.

    Args:
        plan: what to measure.
        judges: name -> judge and its pictures.
        file: the existing rows.

    Returns:
        A job for each picture that lacks rows.
    """
    jobs = []
    for name, (_, samples) in judges.items():
        work = systems(plan, name, samples)
        for sample in samples:
            pairs = [
                (system, quality)
                for system, (pictures, grid) in work.items()
                if sample in pictures
                for quality in grid
            ]
            todo = tuple(
                (system, quality)
                for system, quality in pairs
                if key_of(name, sample.path.name, system, quality, plan.setup) not in file.rows
            )
            if todo:
                jobs.append(Job(name, sample, todo))
    return jobs


def finished(
    plan: Plan, judges: dict[str, tuple[Judge, list[Sample]]], file: RowsFile
) -> dict[str, tuple[Judge, list[Sample]]]:
    """Keep only pictures that have all their rows, and judges that have such pictures."""
    open_jobs = {(job.judge, job.sample.path) for job in jobs_of(plan, judges, file)}
    left = {
        name: (judge, [s for s in samples if (name, s.path) not in open_jobs])
        for name, (judge, samples) in judges.items()
    }
    return {name: (judge, samples) for name, (judge, samples) in left.items() if samples}


def table_of(plan: Plan, judge: Judge, samples: list[Sample], file: RowsFile) -> Table:
    """The results of one judge.

    Args:
        plan: what to measure.
        judge: name of the judge.
        samples: its pictures.
        file: the file with all rows.

    Returns:
        The table.
    """
    table = Table(judge, {}, {}, {}, {})
    for system, (pictures, grid) in systems(plan, judge.name, samples).items():
        rows = [
            [file.rows[key_of(judge.name, sample.path.name, system, q, plan.setup)] for q in grid]
            for sample in pictures
        ]
        table.pictures[system] = [sample.path.name for sample in pictures]
        table.qualities[system] = grid
        table.rates[system] = np.array([[row["bpp"] for row in picture] for picture in rows])
        table.scores[system] = {
            score: np.array([[row["scores"][score] for row in picture] for picture in rows])
            for score in judge.scores
        }
    return table


def against_anchor(table: Table, variants: Iterable[str], prefix: str = "") -> dict[str, Rates]:
    """BD-rates against uniform steps.

    Args:
        table: the results of one judge.
        variants: the variants to compare.
        prefix: prefix of the systems if they use other weights.

    Returns:
        Variant -> BD-rates.
    """
    if not table.has(prefix + ANCHOR):
        return {}
    return {
        v: table.compare(prefix + ANCHOR, prefix + v)
        for v in variants
        if v not in (ANCHOR, SAME_QP) and table.has(prefix + v)
    }


def against_rivals(table: Table, plan: Plan) -> dict[str, dict[str, Rates]]:
    """Rival -> variant -> BD-rates."""
    variants = [
        v for v in (*AGAINST_RIVALS, TUNED, *TOKEN_VARIANTS) if v in plan.variants and table.has(v)
    ]
    return {rival: {v: table.compare(rival, v) for v in variants} for rival in plan.rivals}


def against_same_qp(table: Table) -> Rates:
    """BD-rates of uniform steps with QPs that depend on each picture's cost, against one QP."""
    return table.compare(SAME_QP, ANCHOR) if table.has(SAME_QP, ANCHOR) else {}


def against_untuned(table: Table) -> Rates:
    """BD-rates of tuned files against untuned files with the same guide."""
    return table.compare(DEFAULT, TUNED) if table.has(DEFAULT, TUNED) else {}


def against_pixels(table: Table) -> dict[str, Rates]:
    """Variant -> BD-rates of files judged by tokens against the same files judged by pixels."""
    pairs = [(name.removeprefix(TOKENS), name) for name in TOKEN_VARIANTS]
    return {
        pixels: table.compare(pixels, tokens)
        for pixels, tokens in pairs
        if table.has(pixels, tokens)
    }


def against_base(table: Table, plan: Plan) -> dict[str, Rates]:
    """BD-rates against the other weights.

    Args:
        table: the results of one judge.
        plan: what to measure.

    Returns:
        Variant -> BD-rates against the same variant of the other weights; each uses the slope of
        its weights. `same-qp` -> BD-rates against the other weights' uniform steps, if these also
        have one QP for all pictures.
    """
    rates = {
        name.removeprefix(BASE): table.compare(name, name.removeprefix(BASE))
        for name in of_base(plan)
    }
    if table.has(SAME_QP, BASE + ANCHOR) and not plan.setup.slope_of(
        checkpoint.load(plan.setup.base or "")
    ):
        rates[SAME_QP] = table.compare(BASE + ANCHOR, SAME_QP)
    return rates


def base_of(plan: Plan, tables: dict[str, Table]) -> dict[str, Any] | None:
    """BD-rates of the other weights' guides against their uniform steps; None without others."""
    if not plan.setup.base:
        return None
    weights = checkpoint.load(plan.setup.base)
    rates = {name: against_anchor(table, plan.variants, BASE) for name, table in tables.items()}
    return {"model": weights.name, "fingerprint": weights.fingerprint.hex(), "bd_rate": rates}


def judges_of(
    plan: Plan, limit_of: Callable[[str], int | None]
) -> tuple[dict[str, tuple[Judge, list[Sample]]], dict[str, str]]:
    """The judges of a plan with their pictures, and reasons why other judges are missing.

    Args:
        plan: what to measure.
        limit_of: maps a judge's name to its largest number of pictures; None for all.

    Returns:
        judges: name -> judge and pictures.
        skipped: name -> reason.
    """
    judges = {}
    skipped = {}
    for name in plan.judges:
        try:
            judge = load_judge(name, plan.setup.data)
            judges[name] = judge, spread(judge.pictures(), limit_of(name))
        except JudgeUnavailable as error:
            skipped[name] = str(error)
    return judges, skipped


def run(plan: Plan, file: RowsFile, processes: int = 1) -> dict[str, Any]:
    """Measure missing rows and compare all systems.

    Args:
        plan: what to measure.
        file: the file of rows.
        processes: number of worker processes.

    Returns:
        The result: curves, BD-rates, and what they were measured with.

    Raises:
        CodecError: weights or a library are missing.
    """
    judges, skipped = judges_of(plan, lambda _: plan.limit)
    collect(jobs_of(plan, judges, file), partial(measure, setup=plan.setup), file, processes)
    tables = {
        name: table_of(plan, judge, samples, file) for name, (judge, samples) in judges.items()
    }
    guided = any(v not in NO_MAPS for v in plan.variants)
    weights = checkpoint.load(plan.setup.model)
    return {
        "model": weights.name,
        "fingerprint": weights.fingerprint.hex(),
        "student": student_hash() if guided else None,
        "strength": plan.setup.strength,
        "slope": plan.setup.slope_of(weights),
        "machine": describe(),
        "systems": {name: identity(name, plan.setup)[0] for name in plan.rivals},
        "judge_note": {name: table.judge.note for name, table in tables.items()},
        "skipped": skipped,
        "bd_note": (
            "percent of rate at equal mean score, Akima over isotonic fits; "
            f"null where scores overlap in less than {LEAST_OVERLAP:.0%} of the shorter range; "
            f"low, high: {PERCENTILES[0]} and {PERCENTILES[1]} % of {RESAMPLES} resamples "
            "of the pictures"
        ),
        "sets": {name: describe_set(table) for name, table in tables.items()},
        "curves": {
            name: {system: table.points(system) for system in table.rates if system != ORIGINAL}
            for name, table in tables.items()
        },
        "bd_rate": {name: against_anchor(table, plan.variants) for name, table in tables.items()},
        "base": base_of(plan, tables),
        "bd_rate_slope": {name: against_same_qp(table) for name, table in tables.items()},
        "bd_rate_tuned": {name: against_untuned(table) for name, table in tables.items()},
        "bd_rate_tokens": {name: against_pixels(table) for name, table in tables.items()},
        "bd_rate_base": {name: against_base(table, plan) for name, table in tables.items()},
        "bd_rate_rivals": {name: against_rivals(table, plan) for name, table in tables.items()},
    }


def describe_set(table: Table) -> dict[str, Any]:
    """Describe a judge's pictures.

    Args:
        table: the results of the judge.

    Returns:
        folder; pictures: their number; pictures_of_some: the number for systems that have fewer;
        originals: mean scores and bpp of the original files.
    """
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


def comparisons_of(result: dict[str, Any], judge: str) -> dict[str, Rates]:
    """All BD-rates of a judge. Keys describe what is compared."""
    rates = {f"{v} against {ANCHOR}": r for v, r in result["bd_rate"][judge].items()}
    rates[f"{ANCHOR} against {SAME_QP}"] = result["bd_rate_slope"][judge]
    rates[f"{TUNED} against {DEFAULT}"] = result["bd_rate_tuned"][judge]
    for variant, by_tokens in result["bd_rate_tokens"][judge].items():
        rates[f"{variant}, tokens against pixels"] = by_tokens
    for variant, by_base in result["bd_rate_base"][judge].items():
        rates[f"{variant} against {result['base']['model']}"] = by_base
    for rival, variants in result["bd_rate_rivals"][judge].items():
        rates |= {f"{variant} against {rival}": r for variant, r in variants.items()}
    return {title: scores for title, scores in rates.items() if scores}


def show(result: dict[str, Any]) -> None:
    """Print a readable summary."""
    for name, reason in result["skipped"].items():
        print(f"{name} is left out: {reason}")
    for name, curves in result["curves"].items():
        about = result["sets"][name]
        print(f"\n{name}: {result['judge_note'][name]}")
        print(f"{about['pictures']} pictures of {about['folder']}, {result['model']}")
        first = next(score for score in about["originals"] if score != "bpp")
        print(f"bpp/{first}; originals {about['originals'][first]:.3f}")
        for system, points in curves.items():
            print(f"  {system:18}" + "  ".join(f"{p['bpp']:.3f}/{p[first]:.3f}" for p in points))
        comparisons = comparisons_of(result, name)
        print("BD-rate, %" if comparisons else "")
        for title, scores in comparisons.items():
            cells = [f"{score} {in_words(values)}" for score, values in scores.items()]
            print(f"  {title:36}" + "  ".join(cells))


def in_words(values: dict[str, float | None]) -> str:
    """Format a BD-rate as '-5.1 (-7.0..-3.2)'; a dash if there is none."""
    if values["value"] is None:
        return "-"
    if values["low"] is None:
        return f"{values['value']:+.1f}"
    return f"{values['value']:+.1f} ({values['low']:+.1f}..{values['high']:+.1f})"


def chosen(text: str, allowed: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Read a list of names.

    Args:
        text: names separated by commas.
        allowed: all valid names.
        what: what the names are, for the error message.

    Returns:
        The names.

    Raises:
        SystemExit: a name is unknown.
    """
    names = tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in allowed:
            raise SystemExit(f"tasks: {what} are {', '.join(allowed)}, not '{name}'")
    return names


def rivals_of(text: str) -> tuple[str, ...]:
    """Read a list of formats to compare with.

    Args:
        text: names or titles of formats in the registry, separated by commas; may be empty.

    Returns:
        Their titles.

    Raises:
        SystemExit: a name is not that of a format.
    """
    if not text.strip():
        return ()
    try:
        names = codecs.names(text)
    except CodecError as error:
        raise SystemExit(f"tasks: {error}") from None
    chosen(",".join(names), tuple(SETTINGS), "rivals")
    return tuple(SETTINGS[name].title for name in names)


def options_of() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--variants", default=",".join(VARIANTS))
    parser.add_argument("--rivals", default=RIVALS, help=f"of {', '.join(SETTINGS)}; '' for none")
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
        help="as of `cotam encode`; the slope of the weights if not given",
    )
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes")
    parser.add_argument("--rows", type=Path, default=None, help="where measured rows are kept")
    add_options(parser)
    return parser.parse_args()


def main() -> None:
    """Command line."""
    options = options_of()
    setup = Setup(
        options.model, data_root(), options.strength, options.base, options.slope, oracle_for
    )
    plan = Plan(
        setup,
        chosen(options.judges, OWN_SETS, "judges"),
        chosen(options.variants, VARIANTS + TOKEN_VARIANTS, "variants"),
        rivals_of(options.rivals),
        tuple(float(q) for q in options.qualities.split(",")),
        options.limit,
        options.slow_limit,
    )
    try:
        fingerprint = checkpoint.load(options.model).fingerprint.hex()
        rows = options.rows or RESULTS / f".rows-{fingerprint}.jsonl"
        result = run(plan, RowsFile(rows), max(1, options.jobs))
    except CodecError as error:
        raise SystemExit(f"tasks: {error}") from None
    if not hand_over(result, options):
        show(result)


if __name__ == "__main__":
    main()
