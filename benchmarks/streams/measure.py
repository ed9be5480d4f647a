"""Bytes, tokens and words of sequences: `python -m benchmarks.streams.measure RECORDINGS --json`.

::

    recordings (record.py) x systems x qualities -> rows: bytes, errors and words of some frames
      -> bytes at equal token error, and at no fewer words than the client's JPEG
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.lib.output import add_options, hand_over
from benchmarks.streams.systems import Sent, available
from codec.evaluation.distortion import Pixels
from codec.evaluation.judges import JudgeUnavailable, data_root
from codec.evaluation.judges.native_tiles import NativeTilesJudge
from codec.evaluation.judges.words import WordsJudge
from codec.evaluation.machine import describe
from codec.evaluation.rows import Key, Row, RowsFile, collect
from codec.tools.choosing.expected import token_error

ROWS = Path(__file__).resolve().parents[1] / "results" / ".rows-streams.jsonl"
# Number of frames of a sequence that are judged, evenly spaced.
JUDGED = 3
# Number of tiles of a frame that DeiT-Tiny judges, evenly spaced.
TILES = 12
# Quality of the stream that is compared with other systems.
QUALITY = 50.0
CLIENT = "jpeg"
# Differences of the share of words read up to this are a tie. Tesseract's results for two pictures
# that look the same differ by about one word of 200, and a picture has about 200 words.
TIE = 0.005


@dataclass(frozen=True)
class Job:
    """A sequence, a system, and the qualities that have no row yet."""

    folder: Path
    system: str
    todo: tuple[float, ...]


def read(folder: Path) -> list[Pixels]:
    """The frames [H, W, 3] of a recording."""
    frames = []
    for path in sorted(folder.glob("*.png")):
        with Image.open(path) as image:
            frames.append(np.asarray(image.convert("RGB")))
    return frames


def judged(count: int) -> list[int]:
    """Numbers of the frames that are judged, including the last frame."""
    return [round((k + 1) * (count - 1) / JUDGED) for k in range(JUDGED)]


@lru_cache(maxsize=1)
def _judges() -> tuple[NativeTilesJudge, WordsJudge]:
    tokens = NativeTilesJudge(data_root(), TILES)
    words = WordsJudge(data_root())
    # The originals are the same for every system, so results for them are cached.
    tokens.reference = _Kept(tokens.tokens)  # type: ignore[assignment]
    words.original_words = _Kept(words.read)  # type: ignore[assignment]
    return tokens, words


class _Kept:
    """Caches a judge's results for the original pictures of a sequence."""

    def __init__(self, look: Callable[[Pixels], Any]) -> None:
        self.look = look
        self.found: dict[int, Any] = {}

    def __call__(self, pixels: Pixels) -> Any:
        key = hash(pixels.tobytes())
        if key not in self.found:
            if len(self.found) >= 2 * JUDGED:
                self.found.clear()
            self.found[key] = self.look(pixels)
        return self.found[key]


def measure(job: Job) -> list[Row]:
    """Measure the rows of a sequence and a system, one for each quality."""
    frames = read(job.folder)
    wanted = judged(len(frames))
    rows: list[Row] = []
    for quality in job.todo:
        sent = available()[job.system].send(frames, quality, wanted)
        rows.append(
            {
                "key": list(_key(job.folder, job.system, quality)),
                "bytes": sent.bytes,
                "first": sent.first,
                "frames": len(frames),
                **_scores(job.system, sent, [frames[number] for number in wanted]),
            }
        )
    return rows


def _scores(system: str, sent: Sent, originals: list[Pixels]) -> dict[str, list[float]]:
    tokens, words = _judges()
    pairs = list(zip(originals, sent.shown, strict=True))
    if system == "png":
        return {"tokens": [0.0] * len(pairs), "expected": [0.0] * len(pairs)}
    scores = {
        "tokens": [tokens.judge(one, other, None)["token_error"] for one, other in pairs],
        "expected": [token_error(one, other) for one, other in pairs],
    }
    if system in ("stream", CLIENT):
        scores["words"] = [words.judge(one, other, None)["words"] for one, other in pairs]
    return scores


def _key(folder: Path, system: str, quality: float) -> Key:
    return folder.name, system, float(quality)


def jobs_of(recordings: Path, systems: list[str], file: RowsFile) -> list[Job]:
    """Jobs for missing rows, ordered by system, so that every sequence has some rows early."""
    folders = sorted(path for path in recordings.iterdir() if path.is_dir())
    jobs = []
    for folder in folders:
        for name in systems:
            todo = tuple(
                quality
                for quality in available()[name].qualities
                if _key(folder, name, quality) not in file.rows
            )
            if todo:
                jobs.append(Job(folder, name, todo))
    return jobs


def at_equal_tokens(rows: dict[Key, Row], folder: str, system: str) -> float | None:
    """The stream's bytes relative to another system's at the same token error, minus 1.

    The other system's bytes are interpolated on its curve, linearly in logarithms. Outside the
    curve, its nearest end is used. This favours the other system if the stream's error is smaller
    than all on the curve, and the stream if it is larger.
    """
    stream = rows.get((folder, "stream", QUALITY))
    points = [row for key, row in rows.items() if key[:2] == (folder, system)]
    if stream is None or not points:
        return None
    least = 1e-5
    error = np.log(np.mean(stream["tokens"]) + least)
    errors = np.log([np.mean(row["tokens"]) + least for row in points])
    sizes = np.log([row["bytes"] for row in points])
    order = np.argsort(errors)
    other = np.exp(np.interp(error, errors[order], sizes[order]))
    return float(stream["bytes"] / other - 1)


def at_equal_words(rows: dict[Key, Row], folder: str, tie: float) -> dict[str, float] | None:
    """The smallest stream that reads about as many words as the client's JPEG.

    Args:
        rows: all rows.
        folder: the sequence.
        tie: the share of the words by which the stream may fall short.

    Returns:
        Its bytes relative to the client's, minus 1, and its share of words minus the client's;
        None if no stream reads so many.
    """
    client = next((row for key, row in rows.items() if key[:2] == (folder, CLIENT)), None)
    streams = [row for key, row in rows.items() if key[:2] == (folder, "stream")]
    if client is None or not streams:
        return None
    least = float(np.mean(client["words"])) - tie
    enough = [row for row in streams if np.mean(row["words"]) >= least]
    if not enough:
        return None
    best = min(enough, key=lambda row: float(row["bytes"]))
    return {
        "bytes": float(best["bytes"] / client["bytes"] - 1),
        "words": float(np.mean(best["words"]) - np.mean(client["words"])),
    }


def results(rows: dict[Key, Row]) -> list[dict[str, Any]]:
    """One entry for each sequence."""
    entries = []
    for folder in sorted({str(key[0]) for key in rows}):
        scene, _, size = folder.rpartition("-")
        systems = sorted({str(key[1]) for key in rows if key[0] == folder})
        entries.append(
            {
                "scene": scene,
                "size": size,
                "frames": next(row["frames"] for key, row in rows.items() if key[0] == folder),
                "points": {system: _points(rows, folder, system) for system in systems},
                "at_equal_tokens": {
                    system: at_equal_tokens(rows, folder, system)
                    for system in systems
                    if system not in ("stream", "png", CLIENT)
                },
                "at_equal_words": at_equal_words(rows, folder, TIE),
                "at_no_fewer_words": at_equal_words(rows, folder, 0),
            }
        )
    return entries


def _points(rows: dict[Key, Row], folder: str, system: str) -> list[dict[str, Any]]:
    found = sorted((key[2], row) for key, row in rows.items() if key[:2] == (folder, system))
    return [
        {"quality": quality, **{name: row[name] for name in row if name != "key"}}
        for quality, row in found
    ]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", type=Path, help="the folder that record.py wrote")
    parser.add_argument("--systems", default=",".join(available()))
    parser.add_argument("--rows", type=Path, default=ROWS)
    parser.add_argument("--only", default="", help="sequences whose names begin so")
    add_options(parser)
    options = parser.parse_args()
    try:
        notes = [judge.note for judge in _judges()]
    except JudgeUnavailable as error:
        raise SystemExit(f"streams: {error}") from None
    file = RowsFile(options.rows)
    jobs = jobs_of(options.recordings, options.systems.split(","), file)
    chosen = [job for job in jobs if job.folder.name.startswith(options.only)]
    collect(chosen, measure, file)
    result = {
        "machine": describe(),
        "judges": notes,
        "judged_frames": JUDGED,
        "sequences": results(file.rows),
    }
    if not hand_over(result, options):
        for entry in results(file.rows):
            print(entry["scene"], entry["size"], entry["at_equal_tokens"], entry["at_equal_words"])


if __name__ == "__main__":
    main()
