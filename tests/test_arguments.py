"""Arguments of the command line: IN OUT, patterns, numbers of workers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from codec.cli.arguments import expanded, named_output
from codec.cli.main import RUNS_ON
from codec.cli.options import MOST_WORKERS, workers_for
from codec.errors import BadArgument
from tests.conftest import ROOT, run_cotam


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """a.png, b.png and c[1].png, drawings."""
    for name in ("a", "b", "c[1]"):
        Image.fromarray(np.full((20, 30, 3), 200, np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_in_out_as_other_codecs_take_it(folder: Path) -> None:
    done = run_cotam("encode", "a.png", "out.ctm", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert files(folder) == {"a.png", "b.png", "c[1].png", "out.ctm"}
    done = run_cotam("decode", "out.ctm", "back.webp", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert Image.open(folder / "back.webp").format == "WEBP"


def test_a_second_name_that_exists_is_an_input(folder: Path) -> None:
    done = run_cotam("encode", "a.png", "b.png", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert {"a.ctm", "b.ctm"} <= files(folder)
    before = (folder / "b.ctm").read_bytes()
    again = run_cotam("encode", "a.png", "b.ctm", cwd=folder)
    assert again.returncode != 0
    assert (folder / "b.ctm").read_bytes() == before


def test_quoted_patterns_are_expanded(folder: Path) -> None:
    done = run_cotam("encode", "*.png", "-o", "out/", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert files(folder / "out") == {"a.ctm", "b.ctm", "c[1].ctm"}
    nothing = run_cotam("encode", "*.tif", cwd=folder)
    assert nothing.returncode == 2
    assert b"no file matches *.tif" in nothing.stderr


def test_a_name_with_brackets_is_a_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert expanded(["c[1].png", "a.png"]) == ["c[1].png", "a.png"]
    with pytest.raises(BadArgument):
        expanded(["d[1].png"])


def test_the_option_wins_over_a_second_name() -> None:
    assert named_output(["a.png", "no.ctm"], "x/", str) == (["a.png", "no.ctm"], "x/")
    assert named_output(["a.png", "no.ctm"], None, lambda _: True) == (["a.png"], "no.ctm")
    assert named_output(["a", "b", "c"], None, lambda _: True) == (["a", "b", "c"], None)


@pytest.mark.slow
def test_workers(folder: Path) -> None:
    assert workers_for(1) == 1
    assert workers_for(10**6) == min(os.cpu_count() or 1, MOST_WORKERS)
    done = run_cotam("encode", "a.png", "b.png", "-j", "all", "-o", "out/", cwd=folder)
    assert done.returncode == 0, done.stderr
    for wrong in ("0", "-1", "many", "1.5"):
        assert run_cotam("encode", "a.png", "-j", wrong, cwd=folder).returncode == 2


def test_the_versions_of_what_it_runs_on() -> None:
    lines = run_cotam("--version").stdout.decode().splitlines()
    assert lines[0].startswith("cotam ")
    assert {line.split()[0].rstrip(":") for line in lines[1:]} == {"Python", *RUNS_ON}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    done = run_cotam("completion", shell)
    assert done.returncode == 0, done.stderr
    assert b"_COTAM_COMPLETE" in done.stdout
    assert run_cotam("completion", "tcsh").returncode == 2


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_commands_and_options(tmp_path: Path) -> None:
    program = tmp_path / "cotam"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m codec.cli "$@"\n')
    program.chmod(0o755)
    script = """
eval "$(cotam completion bash)"
COMP_WORDS=(cotam enc); COMP_CWORD=1
_cotam_completion cotam enc cotam; echo "${COMPREPLY[@]}"
COMPREPLY=(); COMP_WORDS=(cotam encode --qual); COMP_CWORD=2
_cotam_completion cotam --qual encode; echo "${COMPREPLY[@]}"
"""
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        ["bash", "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["encode", "--quality"], done.stderr
