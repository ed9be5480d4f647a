"""Signals and killed workers: all processes end, finished files stay, and reports are correct."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

import codec
from codec.cli import workers
from tests.attacks import pictures
from tests.conftest import ROOT

TOY = ROOT / "tests" / "golden" / "toy.safetensors"
PICTURES = 30
pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many")
    for number in range(PICTURES):
        Image.fromarray(pictures.scene(120 + number, 90)).save(folder / f"{number:02}.png")
    return folder


def waited_for_cores() -> float:
    """Seconds since boot in which some process had to wait for a core; 0 if unknown."""
    try:
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
        return int(some.rpartition("total=")[2]) / 1e6
    except (OSError, ValueError, IndexError):
        return 0.0


def usual_signals() -> None:
    """Reset signals as in a shell: tests that run under nohup or in the background ignore some."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)


class Batch:
    """A running `cotam encode FOLDER -j 2`.

    held: a named pipe that is encoded last. Nothing is written to it, so the batch cannot end
    before the test has acted, even on a slow machine.
    """

    def __init__(
        self,
        source: Path,
        out: Path,
        jobs: int = 2,
        held: Path | None = None,
        options: tuple[str, ...] = (),
        before: Callable[[], None] = usual_signals,
    ) -> None:
        self.out = out
        self.sources = [source] if held is None else [source, held]
        if held is not None:
            os.mkfifo(held)
        command = [sys.executable, "-m", "codec.cli", "encode", *map(str, self.sources)]
        command += ["-o", str(out), "--model", str(TOY), "-j", str(jobs), "--json"]
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [*command, "--skip-existing", *options],
            env=env,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=before,
        )

    def wait_for(self, files: int) -> None:
        end = time.monotonic() + 90
        while self.process.poll() is None and time.monotonic() < end:
            if len(list(self.out.glob("*.ctm"))) >= files:
                return
            time.sleep(0.005)

    def alive(self) -> list[int]:
        """Running processes of the batch's session, without the parent."""
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                fields = (place / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == self.process.pid and fields[0] != "Z":
                found.append(int(place.name))
        return [pid for pid in found if pid != self.process.pid]

    def workers(self) -> list[int]:
        found = []
        for pid in self.alive():
            with suppress(OSError):  # it has just ended
                if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                    found.append(pid)
        return found

    def gone(self, seconds: float = 2) -> bool:
        """Whether all processes except the parent end within this many seconds.

        Time in which processes had to wait for a core is not counted.
        """
        start = time.monotonic()
        waited = waited_for_cores()
        while self.alive():
            passed = time.monotonic() - start
            if passed - (waited_for_cores() - waited) > seconds or passed > 60:
                return not self.alive()
            time.sleep(0.01)
        return True

    def finished(self) -> tuple[list[dict[str, object]], bytes]:
        out, err = self.process.communicate(timeout=120)
        assert b"Traceback" not in err, err
        return [json.loads(line) for line in out.splitlines()], err


def whole(out: Path) -> set[str]:
    """Names of the results. Asserts that all of them decode and that there are no other files."""
    toy = codec.load(TOY, "cpu")
    names = {path.name for path in out.iterdir()}
    assert all(name.endswith(".ctm") for name in names), names
    for name in names:
        toy.decode((out / name).read_bytes())
    return names


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"),
    [("SIGTERM", ()), ("SIGHUP", ("--tool", "learned")), ("SIGINT", ("--lossless",))],
)
def test_a_signal_ends_all_and_names_what_is_left(
    many: Path, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    batch = Batch(many, tmp_path / "out", held=tmp_path / "held.png", options=options)
    batch.wait_for(3)
    os.kill(batch.process.pid, getattr(signal, name))
    assert batch.gone()
    results, err = batch.finished()
    assert batch.process.returncode == 1
    done = {Path(str(r["target"])).name for r in results if r["ok"]}
    left = [r for r in results if not r["ok"]]
    assert not [r for r in left if name not in str(r["error"])]
    assert done <= whole(tmp_path / "out")
    sources = [str(path) for path in (*many.iterdir(), tmp_path / "held.png")]
    told = {str(r["source"]) for r in results if r["ok"]}
    assert all(source in told or source.encode() in err for source in sources)
    assert str(tmp_path / "held.png").encode() in err
    if name != "SIGTERM":
        return
    again = Batch(many, tmp_path / "out", options=options)
    again.finished()
    assert again.process.returncode == 0
    assert len(whole(tmp_path / "out")) == PICTURES


@pytest.mark.slow
def test_a_signal_that_is_ignored_ends_nothing(many: Path, tmp_path: Path) -> None:
    """`nohup cotam encode ...` continues when its terminal is closed."""
    held = tmp_path / "held.png"
    batch = Batch(many, tmp_path / "out", held=held, before=ignore_hangup)
    batch.wait_for(3)
    os.kill(batch.process.pid, signal.SIGHUP)
    held.write_bytes(next(many.iterdir()).read_bytes())
    results, _ = batch.finished()
    assert batch.process.returncode == 0
    assert len(results) == len(whole(tmp_path / "out")) == PICTURES + 1


def ignore_hangup() -> None:
    usual_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


@pytest.mark.slow
def test_workers_die_with_their_parent(many: Path, tmp_path: Path) -> None:
    batch = Batch(many, tmp_path / "out", held=tmp_path / "held.png")
    batch.wait_for(3)
    batch.process.kill()
    assert batch.gone()
    batch.process.communicate()
    whole(tmp_path / "out")


@pytest.mark.slow
def test_a_dead_worker_costs_nothing_but_time(many: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.png"
    batch = Batch(many, tmp_path / "out", held=held)
    batch.wait_for(2)
    os.kill(batch.workers()[0], signal.SIGKILL)
    held.write_bytes(next(many.iterdir()).read_bytes())  # blocks until a worker reads it
    results, _ = batch.finished()
    assert batch.process.returncode == 0
    assert {bool(r["ok"]) for r in results} == {True}
    assert len(whole(tmp_path / "out")) == PICTURES + 1


def deadly(given: object, target: str, options: dict[str, object]) -> object:
    """A job that kills its process for one picture, as a lack of memory would."""
    from codec.cli.jobs import Result

    if Path(str(given)).stem == "05":
        os.kill(os.getpid(), signal.SIGKILL)
    return lambda stream: stream.write(b"done"), Result("", "")


@pytest.mark.slow
def test_a_deadly_picture_is_named_and_the_others_are_done(many: Path, tmp_path: Path) -> None:
    from codec.cli import jobs

    names = sorted(path.name for path in many.iterdir())[:12]
    tasks = [jobs.Job(str(many / name), str(tmp_path / f"{name}.out")) for name in names]
    work: Any = deadly
    results = {Path(r.source).name: r for r in jobs.run(tasks, work, {"overwrite": True}, 2)}
    assert "died" in results["05.png"].error
    assert [name for name, r in results.items() if r.error] == ["05.png"]
    assert len(list(tmp_path.glob("*.out"))) == 11


def loaded(_: object) -> tuple[bool, str]:
    """Whether a worker has loaded PyTorch, and how many threads it would have."""
    return "torch" in sys.modules, os.environ["OMP_NUM_THREADS"]


def pool(work: Any) -> workers.Pool[Any, Any]:
    return workers.Pool(work, lambda job, why: why, str)


@pytest.mark.slow
def test_workers_load_no_network_before_a_picture_needs_one() -> None:
    threads = str(max(1, (os.cpu_count() or 1) // 2))
    assert list(pool(loaded).run([1, 2, 3], 2)) == [(False, threads)] * 3


@pytest.mark.slow
def test_a_signal_at_the_birth_of_a_worker_leaves_no_orphan(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    born: list[workers._Worker] = []

    class Watched(workers._Worker):
        def __init__(self, work: Any, threads: int) -> None:
            super().__init__(work, threads)
            born.append(self)
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(workers, "_Worker", Watched)
    monkeypatch.setattr(workers, "_state", workers._state)  # restored after the test
    with workers.stoppable():
        results = list(pool(time.sleep).run([60, 60], 2))
    assert all("SIGTERM" in why for why in results)
    assert len(results) == 2
    assert not any(worker.process.is_alive() for worker in born)


def wrongly_named(place: str) -> str:
    """As onnxruntime's import does: converts any interruption to an import error."""
    Path(place).touch()
    try:
        if multiprocessing.parent_process() is None:
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)
    except BaseException:
        return "onnxruntime is missing"
    return "the signal did not come"


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_an_interrupted_import_is_no_error_of_a_picture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, count: int
) -> None:
    monkeypatch.setattr(workers, "_state", workers._state)  # restored after the test
    places = [str(tmp_path / "a"), str(tmp_path / "b")]

    def interrupt() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    if count == 2:
        threading.Thread(target=interrupt, daemon=True).start()
    with workers.stoppable():
        results = list(pool(wrongly_named).run(places, count))
    assert len(results) == 2
    assert all("SIGTERM" in why for why in results), results


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing(many: Path, tmp_path: Path) -> None:
    """Kills parents and workers alternately, at any time after their start, COTAM_KILLS times."""
    random = Random(int(os.environ.get("COTAM_FUZZ_SEED", "0")))
    out = tmp_path / "out"
    for number in range(int(os.environ.get("COTAM_KILLS", "4"))):
        options = random.choice(((), ("--tool", "learned"), ("--tool", "screen"), ("--lossless",)))
        batch = Batch(many, out, options=options)
        if random.random() < 0.5:
            batch.wait_for(random.randrange(PICTURES))
        time.sleep(random.uniform(0, 2))
        at_parent = number % 2 == 0
        killed = random.choice((signal.SIGKILL, signal.SIGTERM))
        for pid in [batch.process.pid] if at_parent else batch.workers()[:1]:
            with suppress(ProcessLookupError):
                os.kill(pid, killed)
        if at_parent:
            assert batch.gone(), f"orphans after kill {number}"
        said = batch.process.communicate(timeout=120)[0].splitlines()
        assert batch.gone(), f"orphans after kill {number}"
        told = [json.loads(line) for line in said if line.endswith(b"}")]
        done = {Path(str(result["target"])).name for result in told if result["ok"]}
        assert not any(out.glob(".*"))
        left = whole(out) if out.exists() else set()
        assert done <= left, f"lost after kill {number}"
        if not at_parent:
            assert len(left) == PICTURES, f"not done after kill {number}"
        for name in random.sample(sorted(left), len(left) // 2):
            (out / name).unlink()
    assert Batch(many, out).finished()
    assert len(whole(out)) == PICTURES


@pytest.mark.slow
def test_results_are_printed_as_they_are_made(many: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.png"
    batch = Batch(many, tmp_path / "out", jobs=1, held=held)
    assert batch.process.stdout is not None
    for number in range(PICTURES):
        assert json.loads(batch.process.stdout.readline())["ok"], number
    assert batch.process.poll() is None
    held.write_bytes(next(many.iterdir()).read_bytes())
    batch.finished()
