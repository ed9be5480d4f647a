"""Many files: which ones, where their results go, one after another or in several processes.

::

    arguments -> plan -> jobs -> run -> results, as they come
                   \\-> refused, unreadable: results, too; notes
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from codec.cli import outputs
from codec.cli.outputs import STREAM, Put, read, refuse_existing, write
from codec.cli.terminal import explained, plain_warnings
from codec.errors import BadArgument
from codec.io import folders

ENCODED = ".ctm"
STDIN_NAME = "stdin"
# How existing results are handled.
# refuse: an error before the run starts, unless the user named the output. replace: overwritten.
# leave: refused one by one (--no-overwrite). skip: counted as done (--skip-existing).
Existing = Literal["refuse", "replace", "leave", "skip"]

__all__ = [
    "ENCODED",
    "STREAM",
    "Job",
    "Put",
    "Result",
    "Schedule",
    "Work",
    "files_of",
    "plain_warnings",
    "plan",
    "read",
    "refuse_existing",
    "run",
    "run_one",
    "write",
]


@dataclass(frozen=True)
class Job:
    """One input and its output.

    Attributes:
        source: a file, or '-' for stdin.
        target: a file, or '-' for stdout.
        keep: never replace an existing file.
    """

    source: str
    target: str
    keep: bool = False


@dataclass
class Result:
    """The result of a job.

    Attributes:
        source: the file that was read, or '-'.
        target: the file that was written, or '-'.
        error: why it failed; empty on success.
        bytes_in: size of the source.
        bytes_out: size of the target.
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        bpp: bits per pixel of the .ctm file.
        seconds: by stage.
        notes: what was changed or left out, one sentence each.
        choices: what was chosen: the tool, the reason for it, quality, weights, ...
    """

    source: str
    target: str
    error: str = ""
    bytes_in: int = 0
    bytes_out: int = 0
    width: int = 0
    height: int = 0
    bpp: float = 0.0
    seconds: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    choices: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ok": not self.error}


# (stdin's bytes or a file, target, options) -> (function that writes the result, the result).
Work = Callable[[bytes | Path, str, dict[str, Any]], tuple[Put, Result]]


@dataclass
class Schedule:
    """What a command will do.

    Attributes:
        jobs: to be done.
        refused: jobs whose results would replace something that must stay.
        unreadable: folders that cannot be read, and why.
        done: number of results that exist already.
        notes: one line about each group of files that is left out.
    """

    jobs: list[Job] = field(default_factory=list)
    refused: list[Result] = field(default_factory=list)
    unreadable: list[Result] = field(default_factory=list)
    done: int = 0
    notes: list[str] = field(default_factory=list)


def plan(
    inputs: Sequence[str],
    output: str | None,
    suffix: str,
    kinds: Set[str],
    existing: Existing = "refuse",
) -> Schedule:
    """Plan the jobs of a command.

    Args:
        inputs: files, folders (searched recursively) or '-'.
        output: a file, a folder or '-'; None for files beside their sources.
        suffix: of results.
        kinds: suffixes of the files in folders that are taken.
        existing: what happens to existing results.

    Returns:
        Jobs, and everything that is refused or left out.

    Raises:
        BadArgument: the arguments contradict each other.
    """
    out = Schedule()
    output = STREAM if output in outputs.STDOUT else output
    candidates = _candidates(inputs, output, suffix, kinds, out)
    if output == STREAM and len(candidates) > 1:
        raise BadArgument("several results cannot go to standard output; give -o a folder")
    keep = output is None and existing in ("refuse", "leave", "skip")
    sources = _identities(job.source for job in candidates)
    for job in _apart(candidates, suffix, out):
        problem = _problem(job, sources, existing, output is None)
        if problem == _DONE:
            out.done += 1
        elif problem:
            out.refused.append(Result(job.source, job.target, problem))
        else:
            out.jobs.append(Job(job.source, job.target, keep and job.target != STREAM))
    return out


_DONE = "done"


def files_of(inputs: Sequence[str], kinds: Set[str]) -> tuple[list[str], list[Result]]:
    """List files.

    Args:
        inputs: files, folders (searched recursively) or '-'.
        kinds: suffixes of the files in folders that are taken.

    Returns:
        The files, and a result for each folder that cannot be read.
    """
    out = Schedule()
    files = [job.source for job in _candidates(inputs, None, ENCODED, kinds, out)]
    return files, out.unreadable


def _candidates(
    inputs: Sequence[str], output: str | None, suffix: str, kinds: Set[str], out: Schedule
) -> list[Job]:
    jobs: list[Job] = []
    into = _is_folder(output)
    for item in inputs:
        if not item:
            raise BadArgument("a file's name is empty")
        if item in (STREAM, *outputs.STDIN):
            name = f"{STDIN_NAME}{suffix}"
            folder = len(inputs) > 1 and output not in (None, STREAM)
            target = str(Path(str(output)) / name) if into or folder else output or STREAM
            jobs.append(Job(STREAM, target))
        elif os.path.isdir(item):
            jobs += _jobs_below(Path(item), output, suffix, kinds, out)
        else:
            jobs.append(Job(item, _single_target(item, output, suffix, into or len(inputs) > 1)))
    return jobs


def _jobs_below(
    root: Path, output: str | None, suffix: str, kinds: Set[str], out: Schedule
) -> list[Job]:
    contents = folders.listing(root, kinds)
    if suffix == ENCODED:
        contents.others.pop(ENCODED, None)  # results of an earlier run
    out.notes += [f"{root}: {note}" for note in contents.notes()]
    out.unreadable += [Result(place, "", why) for place, why in contents.unreadable.items()]
    if output == STREAM:
        return [Job(str(p), STREAM) for p in contents.files]
    base = Path(output) if output else root
    return [
        Job(str(p), str((base / p.relative_to(root)).with_suffix(suffix))) for p in contents.files
    ]


def _is_folder(output: str | None) -> bool:
    return output is not None and (
        output.endswith(("/", os.sep)) or (output != STREAM and os.path.isdir(output))
    )


def _single_target(item: str, output: str | None, suffix: str, into: bool) -> str:
    if output is None:
        return str(Path(item).with_suffix(suffix))
    if output == STREAM:
        return STREAM
    return str(Path(output) / Path(item).with_suffix(suffix).name) if into else output


def _identities(sources: Iterator[str]) -> set[tuple[int, int]]:
    """Device and inode of every source: the same for all names of a file."""
    identities = set()
    for source in sources:
        try:
            state = os.stat(source)
            identities.add((state.st_dev, state.st_ino))
        except (OSError, ValueError):
            continue
    return identities


def _place(target: str) -> str:
    """A target with links resolved, so that two names of one file are equal."""
    return target if target == STREAM else os.path.realpath(target)


def _apart(candidates: list[Job], suffix: str, out: Schedule) -> list[Job]:
    """Give jobs different targets: of x.jpg and x.png, the second one gets x.png.ctm."""
    taken: dict[str, Job] = {}
    crowded = []
    for job in candidates:
        first = taken.setdefault(_place(job.target), job)
        if first is not job and _place(first.source) == _place(job.source):
            out.notes.append(f"{job.source} is named twice")
        elif first is not job:
            crowded.append(job)
    # Targets change only after all jobs have got their first one, so that x.png.ctm is not given
    # away before a file of that name is seen.
    for job in crowded:
        full = f"{Path(job.source).name}{suffix}"
        other = Job(job.source, str(Path(job.target).with_name(full)))
        owner = taken[_place(job.target)].source
        if taken.setdefault(_place(other.target), other) is other:
            out.notes.append(f"{job.source} is written to {other.target}, beside that of {owner}")
        else:
            why = (
                f"its result would also be {job.target}, as that of {owner}; give it another folder"
            )
            out.refused.append(Result(job.source, job.target, why))
    return list(taken.values())


def _problem(job: Job, sources: set[tuple[int, int]], existing: Existing, default: bool) -> str:
    """Why a job must not be done; '' if it may be done, _DONE if its result exists."""
    if outputs.same_file(job.source, job.target):
        return "its result would replace the input; give -o another name"
    if job.target == STREAM:
        return ""
    if any(key in sources for key in _identities(iter([job.target]))) and os.path.isfile(
        job.target
    ):
        return f"its result would replace the input {job.target}; give -o another name"
    if existing == "skip" and os.path.exists(job.target):
        return _DONE
    # lexists, because a dangling link also counts as an existing file.
    if existing == "refuse" and default and os.path.lexists(job.target):
        return f"{job.target} exists already; name it with -o, or replace it with --overwrite"
    return ""


def run_one(job: Job, work: Work, options: dict[str, Any], stdin: bytes | None = None) -> Result:
    """Do one job; an error becomes a sentence in the result.

    Args:
        job: the job.
        work: what to do with it.
        options: of `work`; "debug" lets errors through, "overwrite" allows replacing files.
        stdin: its bytes, if another process has read them.

    Returns:
        The result.
    """
    result = Result(job.source, job.target)
    overwrite = options["overwrite"] and not job.keep
    start = time.perf_counter()
    try:
        if not overwrite:
            refuse_existing(job.target)
        source: bytes | Path = Path(job.source)
        if job.source == STREAM:
            source = read(STREAM) if stdin is None else stdin
        put, result = work(source, job.target, options)
        result.source = job.source
        result.target = job.target
        result.bytes_in = source.stat().st_size if isinstance(source, Path) else len(source)
        result.bytes_out = write(job.target, put, overwrite)
    except Exception as error:  # of any type: the other files must still be done
        if options.get("debug"):
            raise
        result.error = explained(error)
    result.seconds["total"] = time.perf_counter() - start
    return result


@dataclass(frozen=True)
class _Task:
    """A job for a worker process. stdin: the bytes of stdin, which a worker cannot read."""

    job: Job
    stdin: bytes | None = None


@dataclass(frozen=True)
class _Runner:
    """Runs tasks. aside: whether it is in a worker process, which prints tracebacks itself."""

    work: Work
    options: dict[str, Any]
    aside: bool

    def __call__(self, task: _Task) -> Result:
        try:
            return run_one(task.job, self.work, self.options, task.stdin)
        except Exception as error:
            if not self.aside:
                raise
            traceback.print_exc()
            return Result(task.job.source, task.job.target, explained(error))


def _missed(task: _Task, why: str) -> Result:
    return Result(task.job.source, task.job.target, why)


def run(jobs: Sequence[Job], work: Work, options: dict[str, Any], workers: int) -> Iterator[Result]:
    """Do jobs.

    Args:
        jobs: what to do.
        work: does one of them; workers must be able to import it.
        options: of `work`.
        workers: processes that share the cores; 1 works in this process, in order.

    Yields:
        One result per job, as soon as it is ready.
    """
    aside = workers > 1 and len(jobs) > 1
    tasks = []
    for job in jobs:
        data = None
        if aside and job.source == STREAM:
            try:
                data = read(STREAM)
            except Exception as error:
                yield Result(job.source, job.target, explained(error))
                continue
        tasks.append(_Task(job, data))
    from codec.cli.workers import Pool

    pool = Pool(_Runner(work, options, aside), _missed, lambda task: task.job.source)
    yield from pool.run(tasks, workers)
