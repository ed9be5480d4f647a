"""A bar on the terminal: files done, speed, bytes saved, time left.

::

    terminal:      lines of the report, above
                   #########-----  12/40  3.1 files/s  2.4 MP/s  saved 1.2 MB (84 %)  0:00:09 left
    pipe or file:  no bar
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from codec.cli.jobs import Result
from codec.cli.terminal import lines_above

Advance = Callable[[Result], None]
MEGA = 1e6


class Tally:
    """Counts the files that are done, for the bar.

    Attributes:
        saves: whether files become smaller, so that bytes saved mean something.
    """

    def __init__(self, saves: bool) -> None:
        self.saves = saves
        self.start = time.monotonic()
        self.files = 0
        self.pixels = 0
        self.bytes_in = 0
        self.bytes_out = 0

    def add(self, result: Result) -> None:
        """Count a result; failed files count as done, without bytes."""
        self.files += 1
        if result.error:
            return
        self.pixels += result.width * result.height
        self.bytes_in += result.bytes_in
        self.bytes_out += result.bytes_out

    @property
    def speed(self) -> str:
        """Files and megapixels a second since the start."""
        seconds = max(time.monotonic() - self.start, 1e-3)
        return f"{self.files / seconds:.1f} files/s  {self.pixels / seconds / MEGA:.1f} MP/s"

    @property
    def saved(self) -> str:
        """Bytes saved, and their share of the sources; empty where files become larger."""
        if not self.saves or not self.bytes_in:
            return ""
        saved = self.bytes_in - self.bytes_out
        return f"saved {saved / MEGA:.1f} MB ({100 * saved / self.bytes_in:.0f} %)"


def wanted(count: int, as_json: bool) -> bool:
    """Whether a bar is shown: for several files, on a terminal, and not among JSON lines."""
    return count > 1 and sys.stderr.isatty() and not (as_json and sys.stdout.isatty())


@contextmanager
def progress(count: int, saves: bool, show: bool) -> Iterator[Advance]:
    """Show a bar on stderr while files are worked on.

    Args:
        count: number of files.
        saves: whether files become smaller.
        show: whether there is a bar at all.

    Yields:
        A function to call with each result.
    """
    if not show:
        yield lambda _: None
        return
    bar, console = _bar()
    tally = Tally(saves)
    task = bar.add_task("", total=count, speed="", saved="")

    def advance(result: Result) -> None:
        tally.add(result)
        bar.update(task, advance=1, speed=tally.speed, saved=tally.saved)

    def above(line: str) -> None:
        console.print(line, soft_wrap=True, markup=False, highlight=False, emoji=False)

    with bar, lines_above(above):
        yield advance


def _bar() -> tuple[Any, Any]:
    """The bar and its console, of rich, which only a terminal needs."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    bar = Progress(
        BarColumn(bar_width=12),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[saved]}"),
        TimeRemainingColumn(),
        TextColumn("left"),
        console=console,
        transient=True,
        # Lines go above the bar by `lines_above`, which neither wraps nor escapes them.
        redirect_stdout=False,
        redirect_stderr=False,
    )
    return bar, console
