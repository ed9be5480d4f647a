"""Measured rows, kept in a file of JSON lines as they come, so that a run that was ended early continues where it stopped.

A row's key is all that its value depends on except for the code itself: delete the file after a change to the codec.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence, Sized
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from codec.evaluation.coders import TOKENS, Code, Setup, coder, identity, loaded
from codec.evaluation.judges import Judge, Sample, load_judge, read_pixels
from codec.evaluation.rivals import Pixels

ORIGINAL = "original"
Row = dict[str, Any]
Key = tuple[Any, ...]


@dataclass(frozen=True)
class Job:
    """One picture before one judge; todo: (system, quality) that have no row yet."""

    judge: str
    sample: Sample
    todo: tuple[tuple[str, float], ...]


class RowsFile:
    """key -> row {"key", "bpp", "scores"}; key: model, student, strength, system, quality, judge, picture."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[Key, Row] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
                self.rows[tuple(row["key"])] = row
            except (ValueError, KeyError, TypeError):
                continue  # a run was killed while it wrote this line

    def add(self, rows: list[Row]) -> None:
        """Kept here and appended to the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rows.update({tuple(row["key"]): row for row in rows})
        with self.path.open("ab+") as file:
            text = "".join(json.dumps(row) + "\n" for row in rows)
            if file.tell():
                file.seek(-1, 2)
                text = text if file.read(1) == b"\n" else "\n" + text
            file.write(text.encode())


def key_of(judge: str, picture: str, system: str, quality: float, setup: Setup) -> Key:
    """Raises UnknownModel where the model or the student that the system needs is missing."""
    model, student, strength = ("", "", 0.0) if system == ORIGINAL else _identity(system, setup)
    return model, student, strength, system, float(quality), judge, picture


_identity = lru_cache(maxsize=64)(identity)
_judge: Callable[[str, Path], Judge] = lru_cache(maxsize=4)(load_judge)
_coder: Callable[[str, Setup], Code] = lru_cache(maxsize=16)(coder)


def measure(job: Job, setup: Setup) -> list[Row]:
    """The rows of a job; its picture is read, and its original judged, once."""
    judge = _judge(job.judge, setup.data)
    original = read_pixels(job.sample.path)
    rows = []
    judged: dict[
        bytes, dict[str, float]
    ] = {}  # where a guide changes nothing, nothing is judged twice
    coded: dict[
        tuple[str, float], tuple[bytes, Pixels]
    ] = {}  # tokens are of the very files that pixels are of
    for system, quality in job.todo:
        if system == ORIGINAL:
            size = job.sample.path.stat().st_size
            decoded = original
        else:
            which = system.removeprefix(TOKENS), quality
            if which not in coded:
                coded[which] = _coder(system, setup)(original, quality)
            data, decoded = coded[which]
            size = len(data)
        looks = decoded.tobytes()
        if system.startswith(TOKENS):
            looks = TOKENS.encode() + data
            judged[looks] = judge.judge_tokens(  # type: ignore[attr-defined]
                original, loaded(setup.model), data, job.sample.truth
            )
        if looks not in judged:
            judged[looks] = judge.judge(original, decoded, job.sample.truth)
        rows.append(
            {
                "key": list(key_of(job.judge, job.sample.path.name, system, quality, setup)),
                "bpp": size * 24 / original.size,
                "scores": judged[looks],
            }
        )
    return rows


def _start(threads: int) -> None:
    torch.set_num_threads(threads)


class Work(Protocol):
    """todo: as many rows as it will give."""

    @property
    def todo(self) -> Sized: ...


W = TypeVar("W", bound=Work)


def _results(
    jobs: Sequence[W], work: Callable[[W], list[Row]], processes: int
) -> Iterator[list[Row]]:
    if processes == 1:
        yield from map(work, jobs)
        return
    threads = max(1, torch.get_num_threads() // processes)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start, (threads,)) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def collect(
    jobs: Sequence[W], work: Callable[[W], list[Row]], file: RowsFile, processes: int = 1
) -> None:
    """Do the jobs and add their rows to the file; shows its progress on stderr. work must be importable by a new process."""
    columns = (
        TextColumn("rows"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=sum(len(job.todo) for job in jobs))
        for rows in _results(jobs, work, processes):
            file.add(rows)
            progress.advance(task, len(rows))
