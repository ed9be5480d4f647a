"""Runs a command over its files: plan, checks, progress, report.

::

    flags -> plan -> checks of inputs and outputs -> run -> a line for each file -> exit status
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from codec.cli.arguments import check_inputs, expanded, named_output
from codec.cli.jobs import Existing, Schedule, Work, plan, run
from codec.cli.options import AUTO, check_device, fail, workers_for
from codec.cli.outputs import STREAM
from codec.cli.printing.progress import progress, wanted
from codec.cli.printing.report import Report
from codec.cli.streams.order import in_order
from codec.cli.terminal import explained, say
from codec.cli.workers import stoppable
from codec.errors import BadArgument, CodecError, Unreadable
from codec.weights.shipped import MANIFEST


@dataclass(frozen=True)
class Kind:
    """What a command reads and writes.

    Attributes:
        suffix: of results, such as .ctm.
        sources: suffixes of the files that are taken from folders.
        is_output: whether a suffix is that of a result.
        is_result: whether a file of this name, with these first bytes, is a result.
        check_target: raises BadArgument for a result that cannot be written.
        saves: whether results are smaller than their sources.
    """

    suffix: str
    sources: Set[str]
    is_output: Callable[[str], bool]
    is_result: Callable[[str, bytes], bool]
    check_target: Callable[[str], None]
    saves: bool


def run_batch(flags: dict[str, Any], settings: dict[str, Any], kind: Kind, work: Work) -> None:
    """Do a command's work on all its files, and end with its exit status.

    Args:
        flags: the command's flags: inputs, output, handling of existing files, jobs, device.
        settings: the settings that `work` gets; "model" is checked here.
        kind: what the command reads and writes.
        work: processes one file.
    """
    try:
        if flags["quiet"] and flags["verbose"]:
            raise BadArgument("give --quiet or --verbose, not both")
        settings |= {"device": flags["device"], "debug": flags["debug"]}
        settings["explain"] = flags["verbose"] or flags["json_output"]
        settings["overwrite"] = not flags["no_overwrite"]
        schedule = _scheduled(flags, kind)
        # Checked here, so that a missing device is reported once and not for each picture.
        check_device(flags["device"])
    except BadArgument as error:
        fail(str(error), 2)
    except Unreadable as error:
        fail(explained(error))
    try:
        settings["model"] = _found_weights(settings["model"])
    except CodecError as error:
        fail(explained(error))
    report = Report(flags["json_output"], flags["quiet"], flags["verbose"])
    report.to_stderr = any(job.target == STREAM for job in schedule.jobs)
    status = _run(schedule, report, flags, settings, kind, work)
    if status:
        raise click.exceptions.Exit(status)


def _scheduled(flags: dict[str, Any], kind: Kind) -> Schedule:
    """Plan the jobs, and check inputs and outputs before the run. Raises BadArgument."""
    existing = _existing(flags)
    inputs, output = named_output(flags["inputs"], flags["output"], kind.is_output)
    names = expanded(inputs)
    check_inputs(names, output, kind.is_result)
    schedule = plan(names, output, kind.suffix, kind.sources, existing)
    if not (schedule.jobs or schedule.refused or schedule.unreadable or schedule.done):
        looked = ", ".join(sorted(kind.sources))
        raise BadArgument(f"no input file was found (looked for {looked})")
    for target in dict.fromkeys(job.target for job in schedule.jobs):
        kind.check_target(target)
    if schedule.done and not flags["quiet"]:
        say(f"cotam: {schedule.done} done already", err=True)
    if sys.stdout.isatty() and any(job.target == STREAM for job in schedule.jobs):
        raise BadArgument("binary output is not written to a terminal; give -o FILE or redirect it")
    if flags.get("sequence"):
        schedule.jobs = in_order(schedule.jobs)
    return schedule


def _run(
    schedule: Schedule,
    report: Report,
    flags: dict[str, Any],
    settings: dict[str, Any],
    kind: Kind,
    work: Work,
) -> int:
    """Run the planned jobs; return the exit status."""
    workers = flags["jobs"] or workers_for(len(schedule.jobs))
    if flags.get("sequence"):
        workers = 1
    for note in schedule.notes:
        report.note(note)
    for result in schedule.refused:
        report.add(result, refused=True)
    for result in schedule.unreadable:
        report.add(result)
    count = len(schedule.jobs)
    show = not flags["quiet"] and wanted(count, flags["json_output"])
    with stoppable(), progress(count, kind.saves, show) as advance:
        for result in run(schedule.jobs, work, settings, workers):
            report.add(result)
            advance(result)
    return report.finish()


def _found_weights(model: str) -> str:
    """Check that weights exist; download those of a hub address once for all workers.

    Raises:
        BadArgument: the address is malformed, or huggingface_hub is not installed.
        UnknownModel: there are no such weights.
    """
    if model in (AUTO, "default") or (Path(model) / MANIFEST).is_file():
        return model
    from codec.weights import checkpoint, hub

    model = hub.on_disk(model)
    checkpoint.find(model)
    return model


def _existing(flags: dict[str, Any]) -> Existing:
    """What happens to existing files. Raises BadArgument for options that contradict each other."""
    if flags["overwrite"] and (flags["no_overwrite"] or flags["skip_existing"]):
        raise BadArgument("--overwrite cannot be combined with --no-overwrite or --skip-existing")
    if flags["skip_existing"]:
        return "skip"
    if flags["no_overwrite"]:
        return "leave"
    return "replace" if flags["overwrite"] else "refuse"
