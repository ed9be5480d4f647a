"""Worker processes that never outlive their parent.

::

    parent --jobs, one at a time--> workers      a worker dies: its job is tried once more, alone
           <------- results -------              the parent dies: every worker dies
    SIGTERM, SIGHUP, SIGINT -> parent: workers end, what was not done becomes a result that says so
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any, Generic, TypeVar

from codec.backends import THREADS
from codec.cli.terminal import plain_warnings

J = TypeVar("J")
R = TypeVar("R")
SIGNALS = tuple(getattr(signal, n) for n in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, n))
# All workers must have ended two seconds after a signal (docs/reliability.md, "Processes"). They
# get this time to end by themselves and are killed afterwards.
GRACE_SECONDS = 0.5
LAST_SECONDS = 1.6
MOST_STILLBORN = 3
PR_SET_PDEATHSIG = 1  # linux/prctl.h
DIED = "its process died twice (killed, or out of memory); the other pictures are done"
STILLBORN = "worker processes cannot be started; try -j 1"


class Stopped(BaseException):
    """A signal asks to stop. Not an Exception, so that no job handles it as a failure."""


class _State:
    """State that the signal handler shares with the watching thread.

    Attributes:
        signal: the signal that came; empty if none did.
        interruptible: whether the handler may raise Stopped now.
        over: whether the work has ended.
        left: names the jobs that are not done.
    """

    def __init__(self) -> None:
        self.signal = ""
        self.interruptible = False
        self.over = False
        self.left: Callable[[], list[str]] = list


_state = _State()


def stopped() -> str:
    """The name of the signal that ended the work, '' if none did."""
    return _state.signal


@contextmanager
def stoppable() -> Iterator[None]:
    """Let SIGTERM, SIGHUP and SIGINT end the work in `run` and nothing else.

    A second signal ends the program. If the work does not react, because it is deep in a library,
    a watching thread ends the program.
    """
    global _state
    _state = _State()
    state = _state
    ours = [n for n in SIGNALS if signal.getsignal(n) not in (signal.SIG_IGN, None)]
    before = {number: signal.getsignal(number) for number in ours}
    heard, woken = os.pipe()
    os.set_blocking(woken, False)

    def handle(number: int, _: FrameType | None) -> None:
        state.signal = signal.Signals(number).name
        for one in ours:
            # A second signal ends the program at once.
            signal.signal(one, signal.SIG_DFL)
        if state.interruptible:
            state.interruptible = False
            raise Stopped

    for number in ours:
        signal.signal(number, handle)
    earlier = signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(heard, ours, state), daemon=True).start()
    try:
        yield
    finally:
        state.over = True
        signal.set_wakeup_fd(earlier)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(woken)


def _watch(heard: int, ours: Sequence[int], state: _State) -> None:
    """End the program if the handler cannot: Python runs it only between two instructions."""
    while data := os.read(heard, 1):
        if data[0] in ours:
            time.sleep(LAST_SECONDS)
            if not state.over:
                lines = [f"cotam: {name}: not done: the run was ended" for name in state.left()]
                with suppress(OSError):
                    os.write(2, "".join(f"{line}\n" for line in lines).encode(errors="replace"))
                os._exit(1)
    os.close(heard)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let a signal raise Stopped, including one that came before."""
    _state.interruptible = True
    try:
        if _state.signal:
            raise Stopped
        yield
    finally:
        _state.interruptible = False


class Pool(Generic[J, R]):
    """Runs jobs in this process or in several.

    Args:
        work: from a job to its result. With several processes it and the jobs must be picklable.
        missed: makes the result of a job that was not done, from the job and a sentence that says
            why.
        name: names a job in a report.
    """

    def __init__(
        self,
        work: Callable[[J], R],
        missed: Callable[[J, str], R],
        name: Callable[[J], str],
    ) -> None:
        self.work = work
        self.missed = missed
        self.name = name

    def run(self, jobs: Sequence[J], count: int) -> Iterator[R]:
        """Do jobs.

        Args:
            jobs: what to do.
            count: processes.

        Yields:
            Exactly one result for each job, in the order in which they are finished.
        """
        left = dict(enumerate(jobs))
        _state.left = lambda: [self.name(job) for job in list(left.values())]
        several = count > 1 and len(jobs) > 1
        results = self._in_workers(jobs, min(count, len(jobs))) if several else self._here(jobs)
        try:
            for index, result in results:
                left.pop(index, None)
                yield result
        except Stopped:
            pass
        finally:
            _state.over = True
        for job in list(left.values()):
            yield self.missed(job, f"not done: the run was ended by {stopped() or 'a signal'}")

    def _here(self, jobs: Sequence[J]) -> Iterator[tuple[int, R]]:
        for index, job in enumerate(jobs):
            with _interruptible():
                result = self.work(job)
                # The interrupted code may have turned Stopped into another error (see `_serve`).
                if stopped():
                    raise Stopped
            yield index, result

    def _in_workers(self, jobs: Sequence[J], count: int) -> Iterator[tuple[int, R]]:
        team = _Team(self.work, max(1, (os.cpu_count() or 1) // count))
        waiting = deque(enumerate(jobs))
        alone: list[tuple[int, J]] = []
        try:
            for index, result in team.results(waiting, count, alone):
                yield index, result
            for index, job in alone:
                again: list[tuple[int, J]] = []
                yield from team.results(deque([(index, job)]), 1, again)
                if again:
                    yield index, self.missed(job, DIED)
            for index, job in waiting:
                yield index, self.missed(job, STILLBORN)
        except Stopped:
            yield from team.end()
            raise
        finally:
            team.end()


class _Worker:
    """A process and its pipe. job: the (index, job) that it works on."""

    def __init__(self, work: Callable[[Any], Any], threads: int) -> None:
        # A forked process would inherit PyTorch's thread pools, which do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        arguments = (theirs, work, threads, os.getpid())
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        self.job: tuple[int, Any] | None = None
        self.ready = False


class _Team:
    """Workers that take jobs one at a time."""

    def __init__(self, work: Callable[[Any], Any], threads: int) -> None:
        self.work = work
        self.threads = threads
        self.workers: list[_Worker] = []
        self.stillborn = 0

    def results(
        self, waiting: deque[tuple[int, Any]], count: int, lost: list[tuple[int, Any]]
    ) -> Iterator[tuple[int, Any]]:
        """Do jobs.

        Args:
            waiting: (index, job); jobs stay there if no worker can be started.
            count: workers at most.
            lost: gets the jobs of workers that died.

        Yields:
            (index, result), in the order in which they are finished.
        """
        while (waiting and self.stillborn < MOST_STILLBORN) or self._busy():
            self._fill(waiting, count)
            with _interruptible():
                self._hand_out(waiting)
                ready = wait([worker.pipe for worker in self.workers])
            for worker in [worker for worker in self.workers if worker.pipe in ready]:
                with _interruptible():
                    message = self._heard(worker, lost, waiting)
                if message is not None:
                    yield message

    def _busy(self) -> list[_Worker]:
        return [worker for worker in self.workers if worker.job is not None]

    def _fill(self, waiting: deque[tuple[int, Any]], count: int) -> None:
        """Start workers. Signals wait meanwhile, so that every started process is in the list."""
        useful = min(count, len(self._busy()) + len(waiting))
        while len(self.workers) < useful and not stopped():
            self.workers.append(_Worker(self.work, self.threads))

    def _hand_out(self, waiting: deque[tuple[int, Any]]) -> None:
        for worker in self.workers:
            if worker.job is None and waiting:
                worker.job = waiting.popleft()
                with suppress(OSError):  # it is dead, which `_heard` notices next
                    worker.pipe.send(worker.job[1])

    def _heard(
        self, worker: _Worker, lost: list[tuple[int, Any]], waiting: deque[tuple[int, Any]]
    ) -> tuple[int, Any] | None:
        """Read a worker's message: its result, or None if it has only started, or has died."""
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):
            self._bury(worker, lost, waiting)
            return None
        if not worker.ready:
            worker.ready = True
            self.stillborn = 0
            return None
        assert worker.job is not None
        index = worker.job[0]
        worker.job = None
        return index, message

    def _bury(
        self, worker: _Worker, lost: list[tuple[int, Any]], waiting: deque[tuple[int, Any]]
    ) -> None:
        self.workers.remove(worker)
        worker.process.join(GRACE_SECONDS)
        self.stillborn += not worker.ready
        if worker.job is None:
            return
        if worker.ready:
            lost.append(worker.job)
        else:
            # The worker never started; that says nothing about the job, so it is tried again.
            waiting.appendleft(worker.job)

    def end(self) -> list[tuple[int, Any]]:
        """End all workers, by force after GRACE_SECONDS; return results that they still sent."""
        for worker in self.workers:
            worker.process.terminate()
        end = time.monotonic() + GRACE_SECONDS
        for worker in self.workers:
            worker.process.join(max(0, end - time.monotonic()))
        sent = []
        for worker in self.workers:
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
            with suppress(EOFError, OSError):
                while worker.job is not None and worker.pipe.poll():
                    message = worker.pipe.recv()
                    if worker.ready:
                        sent.append((worker.job[0], message))
                        worker.job = None
                    worker.ready = True
            worker.pipe.close()
        self.workers = []
        return sent


def _serve(pipe: Connection, work: Callable[[Any], Any], threads: int, parent: int) -> None:
    """Run a worker: jobs from the pipe, results into it, until the pipe or the parent ends."""
    _die_with(parent)
    # A terminal signals the whole group; the parent decides when workers end, by SIGTERM.
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    plain_warnings()
    # ONNX Runtime, PyTorch and MKL read these variables when a picture first needs them.
    os.environ |= dict.fromkeys((THREADS, "OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    try:
        pipe.send("ready")
        while True:
            result = work(pipe.recv())
            # If the signal interrupts an import, onnxruntime reports an ImportError instead.
            if stopped():
                os._exit(1)
            pipe.send(result)
    except (EOFError, OSError):
        pass
    except SystemExit:
        os._exit(1)
    except Exception:
        traceback.print_exc()
        os._exit(1)
    sys.stdout.flush()
    os._exit(0)


def _leave(number: int, _: FrameType | None) -> None:
    """End through every `finally`, so that no partly written file stays."""
    _state.signal = signal.Signals(number).name
    raise SystemExit(1)


def _die_with(parent: int) -> None:
    """End this process when its parent ends, even if the parent is killed."""
    if sys.platform == "linux":
        with suppress(AttributeError, OSError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have died before prctl was called.
    if hasattr(os, "getppid") and os.getppid() != parent:
        os._exit(1)
    parent_process = multiprocessing.parent_process()
    if parent_process is not None:
        threading.Thread(target=_outlive, args=(parent_process.sentinel,), daemon=True).start()


def _outlive(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
