"""Signals and killed workers: processes end together, files stay, the report is true."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

import codec
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


class Batch:
    """`cotam encode FOLDER -j 2`, watched."""

    def __init__(self, source: Path, out: Path, jobs: int = 2) -> None:
        self.out = out
        command = [sys.executable, "-m", "codec.cli", "encode", str(source), "-o", str(out)]
        command += ["--model", str(TOY), "-j", str(jobs), "--json", "--skip-existing"]
        env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            command,
            env=env,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def wait_for(self, files: int) -> None:
        end = time.monotonic() + 90
        while self.process.poll() is None and time.monotonic() < end:
            if len(list(self.out.glob("*.ctm"))) >= files:
                return
            time.sleep(0.005)

    def alive(self) -> list[int]:
        """Processes of the batch's session that are not yet gone, the parent aside."""
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
        return [p for p in self.alive() if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]

    def gone(self, seconds: float) -> bool:
        """Whether all processes beside the parent end within so many seconds."""
        end = time.monotonic() + seconds
        while self.alive() and time.monotonic() < end:
            time.sleep(0.01)
        return not self.alive()

    def finished(self) -> tuple[list[dict[str, object]], bytes]:
        out, err = self.process.communicate(timeout=120)
        assert b"Traceback" not in err, err
        return [json.loads(line) for line in out.splitlines()], err


def whole(out: Path) -> set[str]:
    """Names of the results, each of which decodes; nothing else lies there."""
    toy = codec.load(TOY, "cpu")
    names = {path.name for path in out.iterdir()}
    assert all(name.endswith(".ctm") for name in names), names
    for name in names:
        toy.decode((out / name).read_bytes())
    return names


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_ends_all_and_names_what_is_left(many: Path, tmp_path: Path, name: str) -> None:
    batch = Batch(many, tmp_path / "out")
    batch.wait_for(3)
    os.kill(batch.process.pid, getattr(signal, name))
    assert batch.gone(2)
    results, err = batch.finished()
    assert batch.process.returncode == 1
    done = {Path(str(r["target"])).name for r in results if r["ok"]}
    left = [r for r in results if not r["ok"]]
    assert len(results) == PICTURES
    assert all(name in str(r["error"]) for r in left)
    assert done <= whole(tmp_path / "out")
    assert all(str(r["source"]).encode() in err for r in left)
    if name != "SIGTERM":
        return
    again = Batch(many, tmp_path / "out")
    again.finished()
    assert again.process.returncode == 0
    assert len(whole(tmp_path / "out")) == PICTURES


@pytest.mark.slow
def test_workers_die_with_their_parent(many: Path, tmp_path: Path) -> None:
    batch = Batch(many, tmp_path / "out")
    batch.wait_for(3)
    batch.process.kill()
    assert batch.gone(2)
    batch.process.communicate()
    whole(tmp_path / "out")


@pytest.mark.slow
def test_a_dead_worker_costs_nothing_but_time(many: Path, tmp_path: Path) -> None:
    batch = Batch(many, tmp_path / "out")
    batch.wait_for(2)
    for pid in batch.workers()[:1]:
        os.kill(pid, signal.SIGKILL)
    results, _ = batch.finished()
    assert batch.process.returncode == 0
    assert {bool(r["ok"]) for r in results} == {True}
    assert len(whole(tmp_path / "out")) == PICTURES


def deadly(given: object, target: str, options: dict[str, object]) -> object:
    """Work that kills its process over one picture, as one that needs too much memory does."""
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


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing(many: Path, tmp_path: Path) -> None:
    """COTAM_KILLS says how many; parents and workers in turn."""
    random = Random(int(os.environ.get("COTAM_FUZZ_SEED", "0")))
    out = tmp_path / "out"
    for number in range(int(os.environ.get("COTAM_KILLS", "4"))):
        batch = Batch(many, out)
        batch.wait_for(random.randrange(PICTURES))
        time.sleep(random.uniform(0, 0.2))
        victims = [batch.process.pid] if number % 2 == 0 else batch.workers()[:1]
        for pid in victims:
            os.kill(pid, random.choice((signal.SIGKILL, signal.SIGTERM)))
        batch.process.communicate(timeout=120)
        assert batch.gone(2)
        if out.exists():
            whole(out)
            for path in list(out.iterdir())[::2]:
                path.unlink()
    assert Batch(many, out).finished()
    assert len(whole(out)) == PICTURES


@pytest.mark.slow
def test_results_are_printed_as_they_are_made(many: Path, tmp_path: Path) -> None:
    batch = Batch(many, tmp_path / "out", jobs=1)
    assert batch.process.stdout is not None
    first = json.loads(batch.process.stdout.readline())
    assert first["ok"]
    assert batch.process.poll() is None
    assert len(list((tmp_path / "out").glob("*.ctm"))) < PICTURES
    batch.finished()
