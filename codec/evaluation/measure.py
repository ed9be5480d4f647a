"""Rows: one picture by one codec at one quality. They are kept, and only what is missing is measured again."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from codec.errors import BadPicture
from codec.evaluation.codecs import contender
from codec.evaluation.inputs import Input
from codec.evaluation.metrics import METRICS, Metric, Settings, judge_name, scores
from codec.evaluation.rivals import Pixels
from codec.evaluation.rows import Row, RowsFile, collect
from codec.io.images import read_shown


@dataclass(frozen=True)
class Setup:
    """codecs: names as on the command line -> their identities and qualities; metrics: names; limit: pixels of a picture."""

    codecs: tuple[tuple[str, str, tuple[float, ...]], ...]
    metrics: tuple[str, ...]
    settings: Settings
    limit: int


@dataclass(frozen=True)
class Job:
    """todo: (codec, quality) without a row that has all metrics."""

    picture: Input
    todo: tuple[tuple[str, float], ...]


def label(metric: Metric, picture: Input, settings: Settings) -> str:
    """The name of a score in a row: all that it depends on beside picture and file."""
    judge = judge_name(metric, settings)
    if not judge:
        return metric.name
    known = "" if dict(picture.truths).get(judge) is None else ", truth"
    by = {"tokens": f"{settings.tower} {settings.tower_weights}", "yolox": settings.detector or ""}
    by["vqa"] = f"{settings.vqa_model} {settings.questions}"
    return f"{metric.name} ({judge} {by.get(judge, '')}{known})"


def key_of(identity: str, quality: float, picture: Input) -> tuple[Any, ...]:
    return identity, float(quality), picture.digest


def pixels_of(picture: Input, limit: int) -> Pixels:
    """[H, W, 3]. Raises BadPicture, TooLarge."""
    return read_shown(picture.path, limit)


def measure(job: Job, setup: Setup) -> list[Row]:
    """The rows of a picture; one that cannot be read is a row with its error."""
    identities = {name: identity for name, identity, _ in setup.codecs}
    try:
        original = pixels_of(job.picture, setup.limit)
    except (BadPicture, OSError) as error:
        return [
            {"key": list(key_of(identities[name], quality, job.picture)), "error": str(error)}
            for name, quality in job.todo
        ]
    wanted = tuple(METRICS[name] for name in setup.metrics)
    rows = []
    for name, quality in job.todo:
        who = contender(name)
        start = time.perf_counter()
        data = who.encode(original, quality)
        middle = time.perf_counter()
        decoded = who.decode(data)
        end = time.perf_counter()
        found = scores(wanted, original, decoded, dict(job.picture.truths), setup.settings)
        rows.append(
            {
                "key": list(key_of(identities[name], quality, job.picture)),
                "bytes": len(data),
                "bpp": len(data) * 24 / original.size,
                "encode": middle - start,
                "decode": end - middle,
                "scores": {
                    label(metric, job.picture, setup.settings): found[metric.name]
                    for metric in wanted
                },
            }
        )
    return rows


def jobs_of(pictures: list[Input], setup: Setup, file: RowsFile) -> list[Job]:
    """What no row is there for, or one without some of the metrics."""
    jobs = []
    for picture in pictures:
        names = {label(METRICS[name], picture, setup.settings) for name in setup.metrics}
        todo = tuple(
            (name, quality)
            for name, identity, qualities in setup.codecs
            for quality in qualities
            if not complete(file.rows.get(key_of(identity, quality, picture)), names)
        )
        if todo:
            jobs.append(Job(picture, todo))
    return jobs


def complete(row: Row | None, names: set[str]) -> bool:
    return row is not None and ("error" in row or names <= set(row["scores"]))


class Rows(RowsFile):
    """Rows by picture, codec and quality; a row that was measured again keeps the scores it had."""

    def add(self, rows: list[Row]) -> None:
        for row in rows:
            before = self.rows.get(tuple(row["key"]))
            if before and "scores" in before and "scores" in row:
                row["scores"] = before["scores"] | row["scores"]
        super().add(rows)


def run(pictures: list[Input], setup: Setup, file: Rows, processes: int) -> dict[str, str]:
    """Measure what is missing; returns picture -> why it could not be read."""
    jobs = jobs_of(pictures, setup, file)
    if jobs:
        collect(jobs, partial(measure, setup=setup), file, processes)
    first = setup.codecs[0][1], setup.codecs[0][2][0]
    rows = {picture.path.name: file.rows[key_of(*first, picture)] for picture in pictures}
    return {name: row["error"] for name, row in rows.items() if "error" in row}
