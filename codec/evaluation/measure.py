"""Rows of `cotam eval`: one picture by one codec at one quality.

Rows are kept; only what is missing is measured.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from codec.errors import BadPicture
from codec.evaluation.codecs import CodecUnderTest, codec_under_test
from codec.evaluation.distortion import Pixels
from codec.evaluation.inputs import Input
from codec.evaluation.metrics import METRICS, Metric, Settings, judge_name, scores
from codec.evaluation.rows import Key, Row, RowsFile, collect
from codec.io.images import read_shown


@dataclass(frozen=True)
class Setup:
    """What is measured; small enough to be sent to a process.

    Attributes:
        codecs: (name in the registry, identity, qualities) of each.
        metrics: names.
        settings: of the judges.
        limit: the largest number of pixels of a picture.
    """

    codecs: tuple[tuple[str, str, tuple[float, ...]], ...]
    metrics: tuple[str, ...]
    settings: Settings
    limit: int


@dataclass(frozen=True)
class Job:
    """One picture.

    Attributes:
        picture: the file.
        todo: (codec, quality) without a row that has all metrics.
    """

    picture: Input
    todo: tuple[tuple[str, float], ...]


class Rows(RowsFile):
    """Rows by identity, quality and picture; measuring a row again keeps its other scores."""

    def add(self, rows: list[Row]) -> None:
        """Like RowsFile.add, but keeps the other scores of earlier rows with the same keys."""
        for row in rows:
            # Metrics may be measured in several runs.
            before = self.rows.get(tuple(row["key"]))
            if before and "scores" in before and "scores" in row:
                row["scores"] = before["scores"] | row["scores"]
        super().add(rows)


def label(metric: Metric, picture: Input, settings: Settings) -> str:
    """The name of a score in a row: everything that it depends on except picture and file.

    Args:
        metric: what is measured.
        picture: labelled or not.
        settings: of the judges.

    Returns:
        "psnr" or "tokens (deit )", for example.
    """
    judge = judge_name(metric, settings)
    if not judge:
        return metric.name
    labelled = "" if dict(picture.truths).get(judge) is None else ", truth"
    by = {
        "tokens": f"{settings.tower} {settings.tower_weights}",
        "yolox": settings.detector or "",
        "vqa": f"{settings.vqa_model} {settings.questions}",
    }
    return f"{metric.name} ({judge} {by.get(judge, '')}{labelled})"


def key_of(identity: str, quality: float, picture: Input) -> Key:
    """The key of a row."""
    return identity, float(quality), picture.digest


def pixels_of(picture: Input, limit: int) -> Pixels:
    """Read a picture.

    Args:
        picture: the file.
        limit: the largest number of pixels.

    Returns:
        uint8 [H, W, 3].

    Raises:
        BadPicture: it cannot be decoded.
        TooLarge: it has more pixels.
    """
    return read_shown(picture.path, limit)


def measure(job: Job, setup: Setup) -> list[Row]:
    """Measure the rows of a picture.

    Args:
        job: the picture and what is missing.
        setup: codecs and metrics.

    Returns:
        Rows with bytes, bpp, seconds to encode and decode, and scores; or with the error of a
        picture that cannot be read.
    """
    identities = {name: identity for name, identity, _ in setup.codecs}
    keys = {
        (name, quality): list(key_of(identities[name], quality, job.picture))
        for name, quality in job.todo
    }
    try:
        original = pixels_of(job.picture, setup.limit)
    except (BadPicture, OSError) as error:
        return [{"key": key, "error": str(error)} for key in keys.values()]
    return [
        {"key": key, **_facts(codec_under_test(name), quality, original, job.picture, setup)}
        for (name, quality), key in keys.items()
    ]


def _facts(
    codec: CodecUnderTest, quality: float, original: Pixels, picture: Input, setup: Setup
) -> dict[str, Any]:
    metrics = tuple(METRICS[name] for name in setup.metrics)
    start = time.perf_counter()
    data = codec.encode(original, quality)
    middle = time.perf_counter()
    decoded = codec.decode(data)
    end = time.perf_counter()
    values: dict[str, float | None] = dict.fromkeys(setup.metrics)
    if codec.trained:
        values |= scores(metrics, original, decoded, dict(picture.truths), setup.settings)
    return {
        "bytes": len(data),
        # 24 bits a pixel of the original, so this is 8 * bytes / (H * W).
        "bpp": len(data) * 24 / original.size,
        "encode": middle - start,
        "decode": end - middle,
        "scores": {
            label(metric, picture, setup.settings): values[metric.name] for metric in metrics
        },
    }


def jobs_of(pictures: list[Input], setup: Setup, file: RowsFile) -> list[Job]:
    """List the rows that are still to be measured.

    Args:
        pictures: the files.
        setup: codecs and metrics.
        file: the rows that have been measured.

    Returns:
        One job for each picture that lacks a row, or a row with all metrics.
    """
    jobs = []
    for picture in pictures:
        labels = {label(METRICS[name], picture, setup.settings) for name in setup.metrics}
        todo = tuple(
            (name, quality)
            for name, identity, qualities in setup.codecs
            for quality in qualities
            if not _complete(file.rows.get(key_of(identity, quality, picture)), labels)
        )
        if todo:
            jobs.append(Job(picture, todo))
    return jobs


def _complete(row: Row | None, labels: set[str]) -> bool:
    return row is not None and ("error" in row or labels <= set(row["scores"]))


def run(pictures: list[Input], setup: Setup, file: Rows, processes: int) -> dict[str, str]:
    """Measure what is missing.

    Args:
        pictures: the files.
        setup: codecs and metrics.
        file: where rows are kept.
        processes: workers.

    Returns:
        Name of a picture -> why it could not be read.
    """
    jobs = jobs_of(pictures, setup, file)
    if jobs:
        collect(jobs, partial(measure, setup=setup), file, processes)
    # A picture that cannot be read has an error in every row, so one row is enough.
    _, identity, qualities = setup.codecs[0]
    rows = {
        picture.path.name: file.rows[key_of(identity, qualities[0], picture)]
        for picture in pictures
    }
    return {name: row["error"] for name, row in rows.items() if "error" in row}
