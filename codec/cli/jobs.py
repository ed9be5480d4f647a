"""Many files: which ones, where their results go, written whole or not at all, one after another or in several processes."""

from __future__ import annotations

import io
import os
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from codec.backends.onnx import THREADS
from codec.errors import BadArgument, sentence
from codec.io.folders import files_in

STREAM = "-"
ENCODED = ".ctm"


@dataclass(frozen=True)
class Job:
    """One input and where its result goes; '-' is stdin or stdout."""

    source: str
    target: str


@dataclass
class Result:
    """What became of a job; error is empty on success."""

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

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"ok": not self.error}


# Writes a whole file to a stream that can seek.
Put = Callable[[IO[bytes]], object]
# stdin's bytes or a file, the target, options -> what writes the result.
Work = Callable[[bytes | Path, str, dict[str, Any]], tuple[Put, Result]]


def plan(inputs: list[str], output: str | None, suffix: str, wanted: set[str]) -> list[Job]:
    """Jobs for files and folders (recursively, files with a wanted suffix). Raises BadArgument where outputs would collide."""
    jobs: list[Job] = []
    for item in inputs:
        if item == STREAM:
            jobs.append(Job(STREAM, output or STREAM))
        elif Path(item).is_dir():
            root = Path(item)
            base = Path(output) if output else root
            jobs += [
                Job(str(p), str((base / p.relative_to(root)).with_suffix(suffix)))
                for p in files_in(root, wanted)
            ]
        else:
            jobs.append(Job(item, _single_target(item, output, suffix, len(inputs) > 1)))
    targets = [os.path.abspath(job.target) for job in jobs if job.target != STREAM]
    twice = (
        {t for t in targets if targets.count(t) > 1} if len(set(targets)) < len(targets) else set()
    )
    if twice:
        raise BadArgument(
            f"several inputs would be written to {sorted(twice)[0]}; give them different names or folders"
        )
    return jobs


def without_done(jobs: list[Job]) -> tuple[list[Job], int]:
    """(jobs whose result is not there yet, how many are done). A file that is there is whole (`write`)."""
    left = [job for job in jobs if job.target == STREAM or not os.path.exists(job.target)]
    return left, len(jobs) - len(left)


def _single_target(item: str, output: str | None, suffix: str, many: bool) -> str:
    if output is None:
        return str(Path(item).with_suffix(suffix))
    if output == STREAM:
        return STREAM
    if many or Path(output).is_dir() or output.endswith(("/", os.sep)):
        return str(Path(output) / Path(item).with_suffix(suffix).name)
    return output


def read(source: str) -> bytes:
    """A file's bytes, or stdin's."""
    return sys.stdin.buffer.read() if source == STREAM else Path(source).read_bytes()


def write(target: str, put: Put, overwrite: bool) -> int:
    """Write a file under a temporary name, then rename it: a reader never sees half a file. '-' is stdout. Returns its bytes.

    What is written goes to the disk at once: a large picture's file does not wait in memory.
    """
    if target == STREAM:
        whole = io.BytesIO()
        put(whole)
        sys.stdout.buffer.write(whole.getbuffer())
        sys.stdout.buffer.flush()
        return len(whole.getbuffer())
    path = Path(target)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    try:
        with os.fdopen(handle, "w+b") as file:
            put(file)
            size = file.seek(0, os.SEEK_END)
        os.chmod(temporary, 0o666 & ~_umask())
        if not overwrite:
            refuse_existing(target)
        os.replace(temporary, path)
        return size
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def refuse_existing(target: str) -> None:
    """Raises BadArgument where a file of that name exists."""
    if target != STREAM and os.path.lexists(target):
        raise BadArgument(f"{target} exists already; leave out --no-overwrite to replace it")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def run_one(job: Job, work: Work, options: dict[str, Any]) -> Result:
    """One job from bytes to bytes; whatever goes wrong with it becomes a sentence in the result, unless options['debug']."""
    result = Result(job.source, job.target)
    start = time.perf_counter()
    try:
        if not options["overwrite"]:
            refuse_existing(job.target)
        given = read(STREAM) if job.source == STREAM else Path(job.source)
        put, result = work(given, job.target, options)
        result.source = job.source
        result.target = job.target
        result.bytes_in = given.stat().st_size if isinstance(given, Path) else len(given)
        result.bytes_out = write(job.target, put, options["overwrite"])
    except Exception as error:  # whatever it is: the other files are still to be done
        if options.get("debug"):
            raise
        result.error = sentence(error)
    result.seconds["total"] = time.perf_counter() - start
    return result


def run(jobs: list[Job], work: Work, options: dict[str, Any], workers: int) -> Iterator[Result]:
    """Results as they come; in order with one worker, else from processes that share the cores."""
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield run_one(job, work, options)
        return
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor, as_completed

    workers = min(workers, len(jobs))
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start_worker, initargs=(threads,)
    )
    try:
        for future in as_completed([pool.submit(run_one, job, work, options) for job in jobs]):
            yield future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def plain_warnings() -> None:
    """A library's warning becomes one line, without its place in the library's source."""

    def say(message: Warning | str, *_: Any, **__: Any) -> None:
        print(f"cotam: note: {' '.join(str(message).split())}", file=sys.stderr)

    warnings.showwarning = say


def _start_worker(threads: int) -> None:
    """Workers share the cores; an interrupt is the parent's business."""
    plain_warnings()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ[THREADS] = str(threads)
    with suppress(ImportError):  # exported graphs need none
        import torch

        torch.set_num_threads(threads)
