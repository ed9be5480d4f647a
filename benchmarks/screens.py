"""Rate, tokens at native size and words read on screens: `python -m benchmarks.screens --json`.

::

    a folder's pictures x systems x qualities -> rows (kept in a file) -> means, BD-rate
"""

from __future__ import annotations

import argparse
import importlib
import io
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image, features

from benchmarks.bd import PERCENTILES, RESAMPLES, Measured, compare
from benchmarks.judges import JudgeUnavailable, data_root, spread
from benchmarks.machine import describe
from benchmarks.output import add_options, hand_over
from benchmarks.rows import Row, RowsFile
from codec.evaluation.judges.native_tiles import NativeTilesJudge
from codec.evaluation.judges.words import WordsJudge
from codec.tools import av1, vp8l

Pixels = NDArray[np.uint8]
RESULTS = Path(__file__).resolve().parent / "results"
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
# What agents send (Anthropic's reference loop for computer use).
AGENT_SIZE = (1456, 819)
JUDGES: dict[str, Callable[[Path], Any]] = {"tokens": NativeTilesJudge, "words": WordsJudge}
ONE_POINT = (0.0,)
AGENT = "JPEG 75"


@dataclass(frozen=True)
class Coded:
    """size: bytes of the file or payload; seconds: to encode, to decode."""

    size: int
    pixels: Pixels
    seconds: tuple[float, float]


@dataclass(frozen=True)
class System:
    """What is compared. qualities: its own scale; note: version and settings."""

    encode: Callable[[Pixels, float], bytes]
    decode: Callable[[bytes, Pixels], Pixels]
    qualities: tuple[float, ...]
    note: str

    def code(self, pixels: Pixels, quality: float) -> Coded:
        """A picture coded and decoded."""
        start = time.perf_counter()
        data = self.encode(pixels, quality)
        middle = time.perf_counter()
        decoded = self.decode(data, pixels)
        return Coded(len(data), decoded, (middle - start, time.perf_counter() - middle))


def pillow(name: str, qualities: Sequence[float], **options: Any) -> System:
    """A format of Pillow."""

    def encode(pixels: Pixels, quality: float) -> bytes:
        stream = io.BytesIO()
        chosen = options if tuple(qualities) == ONE_POINT else options | {"quality": int(quality)}
        Image.fromarray(pixels).save(stream, name, **chosen)
        return stream.getvalue()

    def decode(data: bytes, _: Pixels) -> Pixels:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))

    said = ", ".join(f"{key}={value}" for key, value in options.items()) or "default settings"
    library = features.version(name.lower()) if name in ("AVIF", "WEBP") else None
    library = library or (features.version("libjpeg_turbo") if name == "JPEG" else "")
    return System(encode, decode, tuple(qualities), f"Pillow {PIL.__version__} {library}, {said}")


def of_av1(subsampling: av1.Subsampling) -> System:
    """Our AV1 tool."""

    def encode(pixels: Pixels, quality: float) -> bytes:
        return av1.encode(pixels, int(quality), subsampling=subsampling)

    def decode(data: bytes, pixels: Pixels) -> Pixels:
        return av1.decode(data, *pixels.shape[:2])

    return System(encode, decode, (4, 12, 20, 28, 36, 44, 54), f"codec.tools.av1, {subsampling}")


def of_vp8l() -> System:
    """Our lossless WebP tool."""

    def decode(data: bytes, pixels: Pixels) -> Pixels:
        return vp8l.decode(data, *pixels.shape)

    return System(lambda pixels, _: vp8l.encode(pixels, effort=9), decode, ONE_POINT, "effort 9")


def of_learned() -> System:
    """The default weights as they are shipped."""
    import codec

    cotam = codec.load(device="cpu")

    def decode(data: bytes, _: Pixels) -> Pixels:
        decoded: Pixels = cotam.decode(data, "array")
        return decoded

    return System(cotam.encode, decode, (3, 15, 30, 50, 70, 85), f"weights {cotam.fingerprint}")


def of_palette() -> System:
    """Our palette tool. Raises ImportError where it is not there yet."""
    palette = importlib.import_module("codec.tools.palette")

    def encode(pixels: Pixels, quality: float) -> bytes:
        coded: bytes = palette.encode(pixels, tolerance=quality)
        return coded

    def decode(data: bytes, pixels: Pixels) -> Pixels:
        decoded: Pixels = palette.decode(data, *pixels.shape)
        return decoded

    return System(encode, decode, (64, 32, 16, 8, 4, 0), "codec.tools.palette, by tolerance")


AVIF_QUALITIES = (4, 10, 20, 30, 40, 50, 60, 75)
SYSTEMS: dict[str, Callable[[], System]] = {
    "AVIF": lambda: pillow("AVIF", AVIF_QUALITIES, speed=6),
    "AVIF 4:4:4": lambda: pillow("AVIF", AVIF_QUALITIES, speed=6, subsampling="4:4:4"),
    "WebP": lambda: pillow("WEBP", (1, 5, 20, 40, 60, 80), method=6),
    "WebP lossless": lambda: pillow("WEBP", ONE_POINT, lossless=True, method=6, quality=100),
    "JPEG": lambda: pillow("JPEG", (5, 10, 25, 40, 60, 75, 85), optimize=True),
    AGENT: lambda: pillow("JPEG", ONE_POINT, quality=75),
    "PNG": lambda: pillow("PNG", ONE_POINT, optimize=True),
    "av1": lambda: of_av1("4:2:0"),
    "av1 4:4:4": lambda: of_av1("4:4:4"),
    "vp8l": of_vp8l,
    "palette": of_palette,
    "learned": of_learned,
}
ANCHORS = ("AVIF", "AVIF 4:4:4")
_system: Callable[[str], System] = lru_cache(maxsize=None)(lambda name: SYSTEMS[name]())
_judge = lru_cache(maxsize=None)(lambda name: JUDGES[name](data_root()))


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        folder: below COTAM_DATA.
        size: (width, height) that pictures are reduced to fit in, None for their own.
        systems: keys of SYSTEMS.
        judges: keys of JUDGES.
        limit: at most so many pictures, None for all.
    """

    folder: str
    size: tuple[int, int] | None
    systems: tuple[str, ...]
    judges: tuple[str, ...]
    limit: int | None

    def pictures(self) -> list[Path]:
        """By name, at most `limit`, evenly spaced."""
        root = data_root() / self.folder
        found = sorted(path for path in root.iterdir() if path.suffix in SUFFIXES)
        return spread(found, self.limit)  # type: ignore[arg-type, return-value]

    def key(self, picture: Path, system: str, quality: float, judge: str) -> tuple[Any, ...]:
        """Of a row, all strings and numbers as JSON gives them back."""
        size = "native" if self.size is None else f"{self.size[0]}x{self.size[1]}"
        return self.folder, size, system, float(quality), judge, picture.name


def read(path: Path, size: tuple[int, int] | None) -> Pixels:
    """A picture [H, W, 3], reduced to fit in (width, height) if given."""
    with Image.open(path) as image:
        shown = image.convert("RGB")
    if size is not None:
        shown.thumbnail(size, Image.Resampling.LANCZOS)
    return np.asarray(shown)


def measure(picture: Path, plan: Plan, known: frozenset[tuple[Any, ...]]) -> list[Row]:
    """All rows of a picture that are not known."""
    original = read(picture, plan.size)
    rows: list[Row] = []
    for name in plan.systems:
        system = _system(name)
        for quality in system.qualities:
            keys = {judge: plan.key(picture, name, quality, judge) for judge in plan.judges}
            missing = [judge for judge in plan.judges if keys[judge] not in known]
            if not missing:
                continue
            coded = system.code(original, quality)
            for judge in missing:
                scores = _judge(judge).judge(original, coded.pixels, None)
                row = {"key": list(keys[judge]), "bpp": coded.size * 24 / original.size}
                rows.append(row | {"scores": scores, "seconds": coded.seconds})
    return rows


def collect(plan: Plan, file: RowsFile, processes: int) -> None:
    """Measure what the file does not hold."""
    work = partial(measure, plan=plan, known=frozenset(file.rows))
    if processes == 1:
        for picture in plan.pictures():
            file.add(work(picture))
        return
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for rows in pool.map(work, plan.pictures()):
            file.add(rows)


def table(plan: Plan, file: RowsFile, system: str, judge: str) -> Measured:
    """(rates, scores) [pictures, qualities] of a system before a judge."""
    score = next(iter(_judge(judge).scores))
    rows = [
        [
            file.rows[plan.key(picture, system, quality, judge)]
            for quality in _system(system).qualities
        ]
        for picture in plan.pictures()
    ]
    rates = np.array([[row["bpp"] for row in picture] for picture in rows])
    return Measured(
        rates, np.array([[row["scores"][score] for row in picture] for picture in rows])
    )


def against_agent(anchor: Measured, test: Measured) -> dict[str, float]:
    """The smallest rates that keep as many words as JPEG of quality 75, relative to its rates.

    Returns:
        mean: over the pictures for which there is one; pictures: their share.
    """
    enough = test.scores >= anchor.scores
    smallest = np.where(enough, test.rates, np.inf).min(1)
    found = np.isfinite(smallest)
    ratios = smallest[found] / anchor.rates[found, 0]
    return {
        "mean": float(ratios.mean()) if found.any() else float("nan"),
        "pictures": float(found.mean()),
    }


def results(plan: Plan, file: RowsFile) -> dict[str, Any]:
    """Curves, BD-rates and notes, by judge."""
    found: dict[str, Any] = {"curves": {}, "bd_rate": {}}
    for judge in plan.judges:
        tables = {system: table(plan, file, system, judge) for system in plan.systems}
        found["curves"][judge] = {
            system: [
                {"quality": float(q), "bpp": float(rate), "score": float(score)}
                for q, rate, score in zip(
                    _system(system).qualities, one.rates.mean(0), one.scores.mean(0), strict=True
                )
            ]
            for system, one in tables.items()
        }
        direction = next(iter(_judge(judge).scores.values()))
        found["bd_rate"][judge] = {
            anchor: {
                system: compare(tables[anchor], one, direction)
                for system, one in tables.items()
                if system != anchor and one.rates.shape[1] > 1
            }
            for anchor in ANCHORS
            if anchor in tables
        }
        if judge == "words" and AGENT in tables:
            found["against_agent"] = {
                system: against_agent(tables[AGENT], one) for system, one in tables.items()
            }
    return found


def seconds(plan: Plan, file: RowsFile) -> dict[str, dict[str, float]]:
    """Mean seconds to encode and decode, over pictures and qualities."""
    found = {}
    for system in plan.systems:
        rows = [
            file.rows[plan.key(picture, system, quality, plan.judges[0])]["seconds"]
            for picture in plan.pictures()
            for quality in _system(system).qualities
        ]
        encode, decode = np.array(rows).mean(0)
        found[system] = {"encode": float(encode), "decode": float(decode)}
    return found


def run(plan: Plan, file: RowsFile, processes: int) -> dict[str, Any]:
    """Measure what is missing; everything. Raises JudgeUnavailable."""
    notes = {judge: _judge(judge).note for judge in plan.judges}
    collect(plan, file, processes)
    return {
        "machine": describe(),
        "folder": plan.folder,
        "size": plan.size,
        "pictures": len(plan.pictures()),
        "systems": {system: _system(system).note for system in plan.systems},
        "judge_note": notes,
        "bd_note": (
            "percent of rate at equal mean score, Akima over isotonic fits; low, high: "
            f"{PERCENTILES[0]} and {PERCENTILES[1]} % of {RESAMPLES} resamples of the pictures"
        ),
        "agent_note": (
            f"bytes relative to {AGENT}, at the smallest quality that reads no fewer words; "
            "pictures: share of the pictures for which there is one"
        ),
        "seconds": seconds(plan, file),
        **results(plan, file),
    }


def show(result: dict[str, Any]) -> None:
    """A summary for people."""
    print(f"{result['pictures']} pictures of {result['folder']}")
    for judge, curves in result["curves"].items():
        print(f"\n{judge}: {result['judge_note'][judge]}\nbpp/score")
        for system, points in curves.items():
            print(f"  {system:15}" + "  ".join(f"{p['bpp']:.3f}/{p['score']:.3f}" for p in points))
        for anchor, found in result["bd_rate"][judge].items():
            for system, rate in found.items():
                if rate["value"] is not None:
                    interval = (
                        f" ({rate['low']}..{rate['high']})" if rate["low"] is not None else ""
                    )
                    print(f"  {system} against {anchor}: {rate['value']:+.1f} %{interval}")
    for system, ratio in result.get("against_agent", {}).items():
        print(f"  {system}: {ratio['mean']:.3f} of the bytes of {AGENT}, {ratio['pictures']:.0%}")


def options_of() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", default="eval/screens", help="pictures, below COTAM_DATA")
    parser.add_argument("--agent-size", action="store_true", help="reduced to fit in 1456x819")
    parser.add_argument(
        "--systems", default=",".join(name for name in SYSTEMS if name != "palette")
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
    names = tuple(options.systems.split(","))
    for name in names:
        if name not in SYSTEMS:
            raise SystemExit(f"screens: systems are {', '.join(SYSTEMS)}, not '{name}'")
    size = AGENT_SIZE if options.agent_size else None
    plan = Plan(options.folder, size, names, tuple(options.judges.split(",")), options.limit)
    try:
        result = run(plan, RowsFile(options.rows), max(1, options.jobs))
    except (JudgeUnavailable, OSError) as error:
        raise SystemExit(f"screens: {error}") from None
    if not hand_over(result, options):
        show(result)


if __name__ == "__main__":
    main()
