"""Measured rows, kept in a file of JSON lines as they come, so that interrupted runs resume.

A row's key holds everything that its value depends on, except the codec's own code: delete the file
after a change of the codec.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence, Sized
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

Row = dict[str, Any]
Key = tuple[Any, ...]


class RowsFile:
    """Rows by key, in memory and in a file.

    Attributes:
        path: the file; it is made with the first row.
        rows: key -> row. A row has at least "key", a list of what JSON can hold.
    """

    def __init__(self, path: Path) -> None:
        """Read the rows of a file, if there is one."""
        self.path = path
        self.rows: dict[Key, Row] = {}
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
                self.rows[tuple(row["key"])] = row
            except (ValueError, KeyError, TypeError):
                # The last line of a run that was killed while it wrote.
                continue

    def add(self, rows: list[Row]) -> None:
        """Keep rows and append them to the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rows.update({tuple(row["key"]): row for row in rows})
        with self.path.open("ab+") as file:
            text = "".join(json.dumps(row) + "\n" for row in rows)
            if file.tell():
                # If the last line is incomplete, the first new row must not be appended to it.
                file.seek(-1, 2)
                text = text if file.read(1) == b"\n" else "\n" + text
            file.write(text.encode())


class Work(Protocol):
    """A job of a worker.

    Attributes:
        todo: one entry for each row of the job; only its length is used.
    """

    @property
    def todo(self) -> Sized: ...


W = TypeVar("W", bound=Work)


def collect(
    jobs: Sequence[W], work: Callable[[W], list[Row]], file: RowsFile, processes: int = 1
) -> None:
    """Do jobs and keep their rows; shows the progress on stderr.

    Args:
        jobs: in any order.
        work: from a job to its rows; a new process must be able to import it.
        file: where rows are kept as soon as a job is done.
        processes: workers; one does the jobs in this process.
    """
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


def _results(
    jobs: Sequence[W], work: Callable[[W], list[Row]], processes: int
) -> Iterator[list[Row]]:
    if processes == 1:
        yield from map(work, jobs)
        return
    import torch

    threads = max(1, torch.get_num_threads() // processes)
    # torch's thread pools do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _start, (threads,)) as pool:
        futures = [pool.submit(work, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _start(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
