"""Output of the command: a line per file, choices, JSON, no output, a progress bar on terminals."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import ROOT, run_cotam

COLOURS = re.compile(r"\x1b\[[0-9;]*m")
MOVES = re.compile(r"\x1b\[[0-9;?]*[A-Za-ln-z]|\r")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with in/drawing.png and in/second.png."""
    drawing = np.full((64, 96, 3), 255, np.uint8)
    drawing[10:30, 10:60] = (200, 30, 30)
    (tmp_path / "in").mkdir()
    Image.fromarray(drawing).save(tmp_path / "in" / "drawing.png")
    Image.fromarray(drawing[::-1]).save(tmp_path / "in" / "second.png")
    return tmp_path


def on_terminal(*arguments: object, cwd: Path) -> tuple[int, str]:
    """Run the command on a terminal with 100 columns. Returns its exit status and output."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "codec.cli", *map(str, arguments)],
        cwd=cwd,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    printed = b""
    while True:
        try:
            part = os.read(ours, 4096)
        except OSError:  # the command has closed the terminal
            break
        if not part:
            break
        printed += part
    os.close(ours)
    return process.wait(60), printed.decode()


def test_a_terminal_shows_lines_and_a_bar(folder: Path) -> None:
    status, printed = on_terminal("encode", "in", "-o", "out/", cwd=folder)
    assert status == 0, printed
    plain = MOVES.sub("\n", COLOURS.sub("", printed))
    for name in ("drawing", "second"):
        assert f"in/{name}.png -> out/{name}.ctm" in plain
    assert re.search(r"2/2 +[\d.]+ files/s +[\d.]+ MP/s", plain)
    assert re.search(r"saved \d+\.\d MB \(-?\d+ %\)", plain)
    assert re.search(r"\d+:\d\d:\d\d left", plain)
    # At the end, the bar is erased and the cursor is visible again.
    assert printed.rstrip().endswith("\x1b[2K")
    assert printed.count("\x1b[?25h") == printed.count("\x1b[?25l") > 0


@pytest.mark.slow
def test_no_bar_where_it_would_disturb(folder: Path) -> None:
    status, one = on_terminal("encode", "in/drawing.png", "-o", "one.ctm", cwd=folder)
    assert status == 0
    assert "\x1b" not in one
    status, quiet = on_terminal("encode", "in", "-o", "quiet/", "--quiet", cwd=folder)
    assert (status, quiet) == (0, "")
    status, rows = on_terminal("encode", "in", "-o", "json/", "--json", cwd=folder)
    assert [json.loads(line)["ok"] for line in rows.splitlines()] == [True] * 2
    piped = run_cotam("encode", "in", "-o", "piped/", cwd=folder)
    assert piped.stderr == b""
    assert b"\x1b" not in piped.stdout


def test_quiet_prints_errors_only(folder: Path) -> None:
    (folder / "in" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "in" / "notes.txt").write_text("no picture")
    done = run_cotam("encode", "in", "-o", "out/", "--quiet", cwd=folder)
    assert done.returncode == 1
    assert done.stdout == b""
    lines = done.stderr.decode().splitlines()
    assert [line for line in lines if "note" in line] == []
    assert lines[-1].startswith("cotam: in/broken.png: ")
    both = run_cotam("encode", "in", "--quiet", "-v", cwd=folder)
    assert both.returncode == 2
    assert b"not both" in both.stderr


@pytest.mark.slow
def test_what_was_chosen_and_why(folder: Path, small: NDArray[np.uint8]) -> None:
    Image.fromarray(small).save(folder / "in" / "photo.png")
    done = run_cotam("encode", "in", "-o", "out/", "-v", cwd=folder, backend="onnx")
    lines = done.stdout.decode().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("in/photo.png"))
    assert lines[at + 1].startswith("    tool: learned (it looks like a photograph); quality: ")
    assert "weights: small" in lines[at + 1]
    assert re.match(r"    ms: load \d+, .*total \d+$", lines[at + 2])
    assert "(it looks like a screen, a chart or a drawing)" in done.stdout.decode()
    back = run_cotam("decode", "out", "-o", "back/", "--json", cwd=folder, backend="onnx")
    rows = {Path(row["source"]).stem: row for row in map(json.loads, back.stdout.splitlines())}
    assert rows["photo"]["choices"]["tool"] == "learned"
    assert rows["photo"]["choices"]["weights"] == "small"
    assert rows["drawing"]["choices"]["reason"] == "it looks like a screen, a chart or a drawing"
    assert rows["photo"]["seconds"]["total"] > 0


def test_binary_data_is_not_written_to_a_terminal(folder: Path) -> None:
    status, printed = on_terminal("encode", "in/drawing.png", "-o", "-", cwd=folder)
    assert status == 2
    assert "terminal" in printed
