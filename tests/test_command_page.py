"""The flags in docs/command.md exist, in cotam and in the programs that it compares with."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.test_cli_help import ALL, help_of

PAGE = (ROOT / "docs" / "command.md").read_text()
PROGRAMS = {2: ("avifenc", "avifdec"), 3: ("cjxl", "djxl"), 4: ("cwebp", "dwebp")}
LONG_HELP = {"cjxl": ["-h", "-v", "-v"], "cwebp": ["-longhelp"], "dwebp": ["-h"]}
FLAG = re.compile(r"`(-{1,2}[A-Za-z][\w-]*)")


def rows() -> list[list[str]]:
    table = PAGE[PAGE.index("| what | cotam |") :].split("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]


def flags(column: int) -> set[str]:
    return {flag for row in rows() for flag in FLAG.findall(row[column])}


def printed(program: str) -> str:
    arguments = LONG_HELP.get(program, ["--help"])
    done = subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, errors="replace"
    )
    return done.stdout + done.stderr


def test_our_flags_exist() -> None:
    known = "\n".join(
        "\n".join(help_of(*name.split(), "--help-all")) for name in ("encode", "decode")
    )
    known += "\n".join(help_of("--help"))
    words = set(re.findall(r"-{1,2}[A-Za-z][\w-]*", known))
    assert flags(1) <= words
    for row in rows():
        assert len(row) == 5, row
    for name in re.findall(r"`cotam ([a-z]+)", PAGE):
        assert name in ALL, name


@pytest.mark.parametrize("column", PROGRAMS)
def test_the_neighbours_flags_exist(column: int) -> None:
    programs = PROGRAMS[column]
    absent = [program for program in programs if shutil.which(program) is None]
    if absent:
        pytest.skip(f"{', '.join(absent)}: not installed")
    text = "".join(map(printed, programs))
    words = set(re.findall(r"(?<![\w-])-{1,2}[A-Za-z][\w-]*", text))
    assert flags(column) - words == set()


def test_options_of_the_page_exist() -> None:
    encode, decode = ("\n".join(help_of(name, "--help-all")) for name in ("encode", "decode"))
    for title, text in (("## Encoding", encode), ("## Decoding", decode)):
        section = PAGE.partition(title)[2].partition("\n## ")[0]
        named = set(re.findall(r"`(--[a-z]+)", section))
        assert len(named) >= 4
        assert {name for name in named if name not in text} == set()


def without(package: str, *arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the command in a process in which a package cannot be imported."""
    script = f"""
import sys
sys.modules[{package!r}] = None
sys.argv = ["cotam", *{list(map(str, arguments))!r}]
from codec.cli.main import main
main()
"""
    return subprocess.run(
        [sys.executable, "-c", script],
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("package", "arguments", "says"),
    [
        ("onnx", ("export", "-o", "out", "--int8", "."), "pip install 'cotam[export]'"),
        ("uvicorn", ("serve", "--upstream", "http://localhost:1"), "pip install 'cotam[serve]'"),
        ("matplotlib", ("eval", "a.png"), "pip install 'cotam[bench]'"),
        ("torch", ("encode", "a.png", "--tune"), "PyTorch"),
    ],
)
def test_a_missing_extra_is_one_sentence(
    tmp_path: Path, package: str, arguments: tuple[str, ...], says: str
) -> None:
    done = without(package, *arguments, cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1, done.stderr
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_missing_data_is_one_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "codec.cli", "eval", "kodak", "--metrics", "psnr"],
        env=os.environ | {"PYTHONPATH": str(ROOT), "COTAM_DATA": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "set COTAM_DATA to a folder with eval/kodak" in done.stderr


def test_no_default_points_beside_the_clone() -> None:
    for folder in ("codec", "training", "benchmarks", "conf"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in (".py", ".yaml", ".cfg", ".html"):
                assert "shared/data" not in path.read_text(), path
