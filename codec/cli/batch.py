"""Runs a command over its files: plan, checks, progress, report.

::

    flags -> plan -> [nothing was refused] -> run -> a line for each file -> exit status
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Set
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click

from codec.cli.arguments import expanded, named_output
from codec.cli.jobs import Existing, Work, plan, run
from codec.cli.options import AUTO, check_device, fail, workers_for
from codec.cli.outputs import STREAM
from codec.cli.report import Report
from codec.cli.streams.order import in_order
from codec.cli.terminal import explained, say
from codec.cli.workers import stoppable
from codec.errors import BadArgument, CodecError
from codec.weights.shipped import MANIFEST


def run_batch(
    flags: dict[str, Any],
    settings: dict[str, Any],
    suffix: str,
    kinds: Set[str],
    work: Work,
    is_output: Callable[[str], bool],
) -> None:
    """Do a command's work on all its files, and end with its exit status.

    Args:
        flags: of the command: inputs, output, what happens to existing files, jobs, device.
        settings: of `work`; "model" is checked here.
        suffix: of results.
        kinds: suffixes of the files in folders that are taken.
        work: what is done with a file.
        is_output: whether a suffix, such as .png, is one of a result.
    """
    report = Report(flags["json_output"], False)
    settings |= {"device": flags["device"], "debug": flags["debug"]}
    try:
        existing = _existing(flags)
        settings["overwrite"] = not flags["no_overwrite"]
        inputs, output = named_output(flags["inputs"], flags["output"], is_output)
        schedule = plan(expanded(inputs), output, suffix, kinds, existing)
        if not (schedule.jobs or schedule.refused or schedule.unreadable or schedule.done):
            raise BadArgument(
                f"there is no file to work on (looked for {', '.join(sorted(kinds))})"
            )
        if schedule.done:
            say(f"cotam: {schedule.done} done already", err=True)
        report.to_stderr = any(job.target == STREAM for job in schedule.jobs)
        if report.to_stderr and sys.stdout.isatty():
            raise BadArgument(
                "binary data is not written to a terminal; give -o FILE or redirect it"
            )
        # Here, so that a missing device is reported once and not for each picture.
        check_device(flags["device"])
    except BadArgument as error:
        fail(str(error), 2)
    try:
        _check_weights(settings["model"])
    except CodecError as error:
        fail(explained(error))
    workers = flags["jobs"] or workers_for(len(schedule.jobs))
    if flags.get("sequence"):
        schedule.jobs = in_order(schedule.jobs)
        workers = 1
    for note in schedule.notes:
        report.note(note)
    for result in schedule.refused:
        report.add(result, refused=True)
    for result in schedule.unreadable:
        report.add(result)
    with stoppable(), _progress(len(schedule.jobs)) as advance:
        for result in run(schedule.jobs, work, settings, workers):
            report.add(result)
            advance()
    if status := report.finish():
        raise click.exceptions.Exit(status)


def _check_weights(model: str) -> None:
    """Raises UnknownModel for weights that do not exist."""
    if model in (AUTO, "default") or (Path(model) / MANIFEST).is_file():
        return
    from codec.weights import checkpoint

    checkpoint.find(model)


def _existing(flags: dict[str, Any]) -> Existing:
    """What happens to existing files. Raises BadArgument for options that contradict each other."""
    if flags["overwrite"] and (flags["no_overwrite"] or flags["skip_existing"]):
        raise BadArgument("--overwrite cannot be combined with --no-overwrite or --skip-existing")
    if flags["skip_existing"]:
        return "skip"
    if flags["no_overwrite"]:
        return "leave"
    return "replace" if flags["overwrite"] else "refuse"


def _progress(count: int) -> Any:
    """A bar on stderr, if that is a terminal, stdout is not, and there are several files."""
    if count < 2 or not sys.stderr.isatty() or sys.stdout.isatty():
        return nullcontext(lambda: None)
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    progress = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = progress.add_task("", total=count)

    class Bar:
        def __enter__(self) -> Any:
            progress.start()
            return lambda: progress.advance(task)

        def __exit__(self, *_: object) -> None:
            progress.stop()

    return Bar()
