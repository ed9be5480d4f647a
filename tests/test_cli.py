"""The command as users run it: in subprocesses, with stdin and stdout, on folders."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.cli import jobs as batch
from tests.conftest import ROOT, run_cotam


@pytest.fixture
def folder(tmp_path: Path, small: NDArray[np.uint8]) -> Path:
    """pictures/{a.png, deep/b.jpg, broken.png, notes.txt}"""
    root = tmp_path / "pictures"
    (root / "deep").mkdir(parents=True)
    Image.fromarray(small).save(root / "a.png")
    Image.fromarray(small[::-1]).save(root / "deep" / "b.jpg")
    (root / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (root / "notes.txt").write_text("not a picture")
    return root


def test_encode_info_decode(folder: Path, small: NDArray[np.uint8]) -> None:
    done = run_cotam("encode", "a.png", "-q", 40, cwd=folder)
    assert done.returncode == 0, done.stderr
    info = run_cotam("info", "a.ctm", "--json", cwd=folder)
    assert json.loads(info.stdout)[0]["base_qp"] == 25
    assert b"130" in run_cotam("info", "a.ctm", cwd=folder).stdout
    assert run_cotam("decode", "a.ctm", "-o", "out.jpg", cwd=folder).returncode == 0
    assert Image.open(folder / "out.jpg").format == "JPEG"
    assert run_cotam("decode", "a.ctm", "--overwrite", cwd=folder).returncode == 0
    assert Image.open(folder / "a.png").size == (130, 96)


@pytest.mark.slow
def test_streams_carry_the_same_bytes_as_files(folder: Path) -> None:
    run_cotam("encode", "a.png", cwd=folder)
    piped = run_cotam("encode", "-", stdin=(folder / "a.png").read_bytes())
    assert piped.stdout == (folder / "a.ctm").read_bytes()
    run_cotam("decode", "a.ctm", "-o", "b.png", cwd=folder)
    assert run_cotam("decode", "-", stdin=piped.stdout).stdout == (folder / "b.png").read_bytes()
    assert run_cotam("encode", "a.png", "-o", "-", cwd=folder).stdout == piped.stdout


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_with_a_broken_picture(folder: Path, tmp_path: Path, jobs: int) -> None:
    done = run_cotam("encode", folder, "-o", tmp_path / "out", "-j", jobs, "--json")
    assert done.returncode == 1
    results = {Path(r["source"]).name: r for r in map(json.loads, done.stdout.splitlines())}
    assert {n: r["ok"] for n, r in results.items()} == {
        "a.png": True,
        "b.jpg": True,
        "broken.png": False,
    }
    assert b"broken.png" in done.stderr
    assert b"Traceback" not in done.stderr
    assert sorted(
        p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.*")
    ) == ["a.ctm", "deep/b.ctm"]
    back = run_cotam("decode", tmp_path / "out")
    assert back.returncode == 0
    assert (tmp_path / "out" / "deep" / "b.png").exists()


@pytest.mark.slow
def test_no_overwrite_and_target_size(folder: Path) -> None:
    assert run_cotam("encode", "a.png", "--target-size", "2KB", cwd=folder).returncode == 0
    before = (folder / "a.ctm").read_bytes()
    assert len(before) <= 2000
    again = run_cotam("encode", "a.png", "-q", 90, "--no-overwrite", cwd=folder)
    assert again.returncode == 1
    assert b"exists already" in again.stderr
    assert (folder / "a.ctm").read_bytes() == before
    assert list(folder.glob(".*")) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["encode", "missing.png"], 1),
        (["encode", "notes.txt"], 1),
        (["encode", "a.png", "-q", "101"], 2),
        (["encode", "a.png", "-q", "5", "--target-size", "2KB"], 2),
        (["encode", "a.png", "--target-size", "many"], 2),
        (["encode", "a.png", "--target-size", "9"], 1),
        (["encode", "a.png", "--model", "nobody"], 1),
        (["encode", "a.png", "--device", "toaster"], 2),
        (["encode", "a.png", "--no-such-flag"], 2),
        (["encode", "a.png", "--limit-pixels", "100"], 1),
        (["encode", "a.png", "-o", "deep/../a.png"], 2),
        (["encode", "a.png", "--overwrite", "--no-overwrite"], 2),
        (["encode", "a.png", "--keep", "some"], 2),
        (["encode", "a.png", "deep/b.jpg", "-o", "-"], 2),
        (["encode", "empty"], 2),
        (["decode", "a.png"], 2),
        (["decode", "a.png", "-o", "b.png"], 1),
        (["decode", "missing.ctm"], 1),
        (["info", "a.png"], 1),
        (["info", "missing.ctm"], 1),
        (["nonsense"], 2),
    ],
)
def test_errors_are_one_sentence(folder: Path, arguments: list[str], status: int) -> None:
    (folder / "empty").mkdir()
    before = sorted(folder.rglob("*"))
    done = run_cotam(*arguments, cwd=folder)
    assert done.returncode == status, done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stderr
    if done.stderr.startswith(b"cotam: "):
        assert done.stderr.count(b"\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_debug_shows_the_traceback(folder: Path) -> None:
    done = run_cotam("decode", "a.png", "-o", "b.png", "--debug", cwd=folder)
    assert b"Traceback" in done.stderr
    assert b"NotACotamFile" in done.stderr


def test_damaged_files_write_nothing(folder: Path) -> None:
    run_cotam("encode", "a.png", cwd=folder)
    data = (folder / "a.ctm").read_bytes()
    (folder / "a.png").unlink()
    for name, bad in (
        ("cut", data[:-3]),
        ("flipped", data[:30] + bytes([data[30] ^ 4]) + data[31:]),
    ):
        (folder / f"{name}.ctm").write_bytes(bad)
        done = run_cotam("decode", f"{name}.ctm", cwd=folder)
        assert done.returncode == 1
        assert not (folder / f"{name}.png").exists()


def test_models_lists_the_shipped_weights() -> None:
    listed = json.loads(run_cotam("models", "--json").stdout)
    assert [m["name"] for m in listed] == [m["name"] for m in codec.models()]
    assert b"small-mse" in run_cotam("models").stdout


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.ctm").write_bytes(b"before")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        batch.write(str(tmp_path / "a.ctm"), lambda stream: stream.write(b"after"), True)
    assert [p.name for p in tmp_path.iterdir()] == ["a.ctm"]
    assert (tmp_path / "a.ctm").read_bytes() == b"before"


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupt_leaves_no_half_file(
    folder: Path, small: NDArray[np.uint8], jobs: int
) -> None:
    (folder / "broken.png").unlink()
    for index in range(40):
        Image.fromarray(np.roll(small, index, 0)).resize((640, 480)).save(
            folder / f"p{index:02}.png"
        )
    command = [sys.executable, "-m", "codec.cli", "encode", str(folder), "-j", str(jobs)]
    process = subprocess.Popen(
        command,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(
            signal.SIGINT, signal.SIG_DFL
        ),  # background jobs of a shell ignore it
    )
    while process.poll() is None and not list(folder.glob("*.ctm")):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert b"Traceback" not in stderr
    assert process.returncode == 1
    assert b"not done: the run was ended by SIGINT" in stderr
    assert 0 < len(list(folder.rglob("*.ctm"))) < 42
    loaded = codec.load()
    for path in folder.rglob("*.ctm"):
        loaded.decode(path.read_bytes())
    assert not list(folder.rglob("*.part"))
