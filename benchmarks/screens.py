"""Rate, token error and words read on screenshots: `python -m benchmarks.screens --json`.

Tokens are computed at native size.

::

    a folder's pictures x codecs x qualities -> rows (in a file) -> means, BD-rates
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.lib.output import add_options, hand_over
from codec.errors import CodecError
from codec.evaluation import codecs
from codec.evaluation.bd import PERCENTILES, RESAMPLES, Measured, compare
from codec.evaluation.codecs import codec_under_test, title_of
from codec.evaluation.codecs.pillow import settings_of
from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import JudgeUnavailable, data_root, spread
from codec.evaluation.judges.native_tiles import NativeTilesJudge
from codec.evaluation.judges.words import WordsJudge
from codec.evaluation.machine import describe
from codec.evaluation.rows import Key, Row, RowsFile, collect

RESULTS = Path(__file__).resolve().parent / "results"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# Largest width and height of the screenshots that a typical client sends.
CLIENT_SIZE = (1456, 819)
# The format that such a client sends.
CLIENT_FORMAT = "jpeg-q75"
JUDGES: dict[str, Callable[[Path], Any]] = {"tokens": NativeTilesJudge, "words": WordsJudge}
# Names in the registry; CoTAM's tools are listed so that each one is measured separately.
SYSTEMS = (
    "avif",
    "avif-444",
    "webp",
    "webp-lossless",
    "jpeg",
    CLIENT_FORMAT,
    "png",
    "tool:av1",
    "tool:palette",
    "tool:learned",
)
ANCHORS = ("avif", "avif-444", "avif-best")
# Format or registry name -> qualities. Screens need more quality than photographs.
QUALITIES = {
    "AVIF": (4.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 75.0),
    "WEBP": (1.0, 5.0, 20.0, 40.0, 60.0, 80.0),
    "JPEG": (5.0, 10.0, 25.0, 40.0, 60.0, 75.0, 85.0),
    "tool:learned": (3.0, 15.0, 30.0, 50.0, 70.0, 85.0),
    "cotam": (5.0, 12.0, 20.0, 30.0, 40.0, 50.0, 60.0, 72.0, 85.0, 93.0, 97.0),
    "effort:9": (5.0, 20.0, 40.0, 60.0, 72.0, 85.0, 93.0, 97.0),
}
_judge = lru_cache(maxsize=None)(lambda name: JUDGES[name](data_root()))


def qualities_of(system: str) -> tuple[float, ...]:
    """The qualities at which a codec of the registry is measured; only one if it is fixed."""
    settings = settings_of(system)
    listed = settings.qualities if settings else codec_under_test(system).qualities
    family = settings.format if settings else system
    return QUALITIES.get(family, listed) if len(listed) > 1 else listed


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        folder: path of the pictures below COTAM_DATA.
        size: (width, height) that pictures are scaled down to fit in; None for native size.
        systems: names in the registry.
        judges: keys of JUDGES.
        limit: largest number of pictures, evenly spaced; None for all.
    """

    folder: str
    size: tuple[int, int] | None
    systems: tuple[str, ...]
    judges: tuple[str, ...]
    limit: int | None

    def pictures(self) -> list[Path]:
        """The files of the pictures, sorted by name: at most `limit`, evenly spaced."""
        return pictures_of(self.folder, self.limit)

    def key(self, picture: Path, system: str, quality: float, judge: str) -> Key:
        """The key of a row, made of strings and numbers that survive JSON."""
        size = "native" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        identity = codec_under_test(system).identity
        return self.folder, size, identity, float(quality), judge, picture.name


@dataclass(frozen=True)
class Job:
    """A picture with the rows to measure.

    Attributes:
        picture: the file.
        todo: (system, quality, judge) triples that have no row yet.
    """

    picture: Path
    todo: tuple[tuple[str, float, str], ...]


def pictures_of(folder: str, limit: int | None) -> list[Path]:
    """Picture files of a folder below COTAM_DATA by name: at most `limit`, evenly spaced."""
    paths = (data_root() / folder).iterdir()
    return spread(sorted(path for path in paths if path.suffix in SUFFIXES), limit)


def read(path: Path, size: tuple[int, int] | None) -> Pixels:
    """Read a picture [H, W, 3], scaled down to fit in (width, height) if given."""
    with Image.open(path) as image:
        shown = image.convert("RGB")
    if size is not None:
        shown.thumbnail(size, Image.Resampling.LANCZOS)
    return np.asarray(shown)


def jobs_of(plan: Plan, file: RowsFile) -> list[Job]:
    """A job for each picture that lacks rows."""
    jobs = []
    for picture in plan.pictures():
        todo = tuple(
            (system, quality, judge)
            for system in plan.systems
            for quality in qualities_of(system)
            for judge in plan.judges
            if plan.key(picture, system, quality, judge) not in file.rows
        )
        if todo:
            jobs.append(Job(picture, todo))
    return jobs


def measure(job: Job, plan: Plan) -> list[Row]:
    """Measure a picture; each file is coded once for all judges.

    Args:
        job: the picture and the missing rows.
        plan: sizes and codecs.

    Returns:
        Rows with bpp, scores and seconds to encode and decode.
    """
    original = read(job.picture, plan.size)
    coded: dict[tuple[str, float], tuple[int, Pixels, list[float]]] = {}
    rows: list[Row] = []
    for system, quality, judge in job.todo:
        if (system, quality) not in coded:
            coded[system, quality] = _coded(system, quality, original)
        size, decoded, seconds = coded[system, quality]
        rows.append(
            {
                "key": list(plan.key(job.picture, system, quality, judge)),
                "bpp": size * 24 / original.size,
                "scores": _judge(judge).judge(original, decoded, None),
                "seconds": seconds,
            }
        )
    return rows


def _coded(system: str, quality: float, original: Pixels) -> tuple[int, Pixels, list[float]]:
    codec = codec_under_test(system)
    start = time.perf_counter()
    data = codec.encode(original, quality)
    middle = time.perf_counter()
    decoded = codec.decode(data)
    return len(data), decoded, [middle - start, time.perf_counter() - middle]


def table(plan: Plan, file: RowsFile, system: str, judge: str) -> Measured:
    """Rates and scores [pictures, qualities] of a codec for a judge."""
    score = next(iter(_judge(judge).scores))
    rows = [
        [file.rows[plan.key(picture, system, q, judge)] for q in qualities_of(system)]
        for picture in plan.pictures()
    ]
    rates = np.array([[row["bpp"] for row in picture] for picture in rows])
    scores = np.array([[row["scores"][score] for row in picture] for picture in rows])
    return Measured(rates, scores)


def against_client(anchor: Measured, test: Measured) -> dict[str, float]:
    """Rate at which a codec keeps as many words as the client's format, relative to the latter.

    Args:
        anchor: rates and scores of CLIENT_FORMAT.
        test: rates and scores of another codec.

    Returns:
        mean: the mean ratio of rates over the pictures for which there is such a rate; pictures:
        their share.
    """
    enough = test.scores >= anchor.scores
    smallest = np.where(enough, test.rates, np.inf).min(1)
    matched = np.isfinite(smallest)
    ratios = smallest[matched] / anchor.rates[matched, 0]
    return {
        "mean": float(ratios.mean()) if matched.any() else float("nan"),
        "pictures": float(matched.mean()),
    }


def curve(system: str, measured: Measured) -> list[dict[str, float]]:
    """Means over pictures, at each quality."""
    points = zip(qualities_of(system), measured.rates.mean(0), measured.scores.mean(0), strict=True)
    return [
        {"quality": float(q), "bpp": float(rate), "score": float(score)}
        for q, rate, score in points
    ]


def results(plan: Plan, file: RowsFile) -> dict[str, Any]:
    """Curves and BD-rates, by judge and by the codecs' titles."""
    outcome: dict[str, Any] = {"curves": {}, "bd_rate": {}}
    for judge in plan.judges:
        tables = {system: table(plan, file, system, judge) for system in plan.systems}
        outcome["curves"][judge] = {
            title_of(system): curve(system, measured) for system, measured in tables.items()
        }
        direction = next(iter(_judge(judge).scores.values()))
        outcome["bd_rate"][judge] = {
            title_of(anchor): {
                title_of(system): compare(tables[anchor], measured, direction)
                for system, measured in tables.items()
                if system != anchor and measured.rates.shape[1] > 1
            }
            for anchor in ANCHORS
            if anchor in tables
        }
        if judge == "words" and CLIENT_FORMAT in tables:
            outcome["against_client"] = {
                title_of(system): against_client(tables[CLIENT_FORMAT], measured)
                for system, measured in tables.items()
            }
    return outcome


def seconds(plan: Plan, file: RowsFile) -> dict[str, dict[str, float]]:
    """Mean seconds to encode and decode, over pictures and qualities, by title."""
    means = {}
    for system in plan.systems:
        rows = [
            file.rows[plan.key(picture, system, quality, plan.judges[0])]["seconds"]
            for picture in plan.pictures()
            for quality in qualities_of(system)
        ]
        encode, decode = np.array(rows).mean(0)
        means[title_of(system)] = {"encode": float(encode), "decode": float(decode)}
    return means


def run(plan: Plan, file: RowsFile, processes: int) -> dict[str, Any]:
    """Measure missing rows and compare all codecs.

    Args:
        plan: what to measure.
        file: the file of rows.
        processes: number of worker processes.

    Returns:
        The result.

    Raises:
        JudgeUnavailable: a judge is missing.
        CodecError: a codec is missing.
    """
    notes = {judge: _judge(judge).note for judge in plan.judges}
    collect(jobs_of(plan, file), partial(measure, plan=plan), file, processes)
    return {
        "machine": describe(),
        "folder": plan.folder,
        "size": plan.size,
        "pictures": len(plan.pictures()),
        "systems": {title_of(name): codec_under_test(name).identity for name in plan.systems},
        "judge_note": notes,
        "bd_note": (
            "percent of rate at equal mean score, Akima over isotonic fits; low, high: "
            f"{PERCENTILES[0]} and {PERCENTILES[1]} % of {RESAMPLES} resamples of the pictures"
        ),
        "client_note": (
            f"bytes relative to {title_of(CLIENT_FORMAT)}, at the smallest quality that reads no "
            "fewer words; pictures: share of the pictures for which there is one"
        ),
        "seconds": seconds(plan, file),
        **results(plan, file),
    }


def show(result: dict[str, Any]) -> None:
    """Print a readable summary."""
    print(f"{result['pictures']} pictures of {result['folder']}")
    for judge, curves in result["curves"].items():
        print(f"\n{judge}: {result['judge_note'][judge]}\nbpp/score")
        for system, points in curves.items():
            print(f"  {system:22}" + "  ".join(f"{p['bpp']:.3f}/{p['score']:.3f}" for p in points))
        for anchor, rates in result["bd_rate"][judge].items():
            for system, rate in rates.items():
                if rate["value"] is not None:
                    ends = f" ({rate['low']}..{rate['high']})" if rate["low"] is not None else ""
                    print(f"  {system} against {anchor}: {rate['value']:+.1f} %{ends}")
    client = title_of(CLIENT_FORMAT)
    for system, ratio in result.get("against_client", {}).items():
        print(f"  {system}: {ratio['mean']:.3f} of the bytes of {client}, {ratio['pictures']:.0%}")


def options_of() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", default="eval/screens", help="pictures, below COTAM_DATA")
    parser.add_argument(
        "--client-size",
        action="store_true",
        help=f"reduce pictures to fit in {CLIENT_SIZE[0]}x{CLIENT_SIZE[1]}",
    )
    parser.add_argument(
        "--systems", default=",".join(SYSTEMS), help="names in the registry, with commas"
    )
    parser.add_argument("--judges", default=",".join(JUDGES))
    parser.add_argument(
        "--limit", type=int, default=None, help="only so many pictures, evenly spaced"
    )
    parser.add_argument("-j", "--jobs", type=int, default=1, help="processes")
    parser.add_argument("--rows", type=Path, default=RESULTS / ".rows-screens.jsonl")
    add_options(parser)
    return parser.parse_args()


def main() -> None:
    """Command line."""
    options = options_of()
    size = CLIENT_SIZE if options.client_size else None
    judges = tuple(options.judges.split(","))
    if unknown := [name for name in judges if name not in JUDGES]:
        raise SystemExit(f"screens: judges are {', '.join(JUDGES)}, not '{unknown[0]}'")
    try:
        systems = codecs.names(options.systems)
        plan = Plan(options.folder, size, systems, judges, options.limit)
        result = run(plan, RowsFile(options.rows), max(1, options.jobs))
    except (CodecError, JudgeUnavailable, OSError) as error:
        raise SystemExit(f"screens: {error}") from None
    if not hand_over(result, options):
        show(result)


if __name__ == "__main__":
    main()
