"""The recipes of CONTRIBUTING.md are carried out in a copy of the repository.

::

    recipe: complete files ----------------> written --+
            patches without line numbers --> applied --+--> commands are run
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import ROOT

FOLDERS = ("codec", "training", "conf", "checkpoints", "benchmarks", "tests")
# Packages that a recipe needs in addition to a plain install.
NEEDS = {
    "family": "transformers",
    "judge": "bjontegaard",
    "loss": "pytorch_lightning",
    "model": "pytorch_lightning",
}
PROGRAMS = {
    "cotam": ("-m", "codec.cli"),
    "cotam-train": ("-m", "training.train"),
    "python": (),
}


def recipes() -> dict[str, str]:
    """The text of each recipe by its name."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    parts = re.split(r"<!-- recipe: (\w+) -->\n", page)[1:]
    return dict(zip(parts[::2], parts[1::2]))


def blocks(text: str) -> list[tuple[str, str, str]]:
    """(language, file, content) of each fenced block before the next heading."""
    own = text.split("\n##")[0]
    return re.findall(r"```(\w+) ?(\S*)\n(.*?)```", own, re.DOTALL)


def apply(patch: str, root: Path) -> None:
    """Apply hunks without line numbers; each must match exactly once."""
    for part in re.split(r"^--- .*\n", patch, flags=re.M)[1:]:
        head, *hunks = re.split(r"^@@.*\n", part, flags=re.M)
        file = root / head.removeprefix("+++ b/").strip()
        text = file.read_text()
        for hunk in hunks:
            lines = hunk.splitlines(keepends=True)
            old = "".join(line[1:] or "\n" for line in lines if line[0] in " -\n")
            new = "".join(line[1:] or "\n" for line in lines if line[0] in " +\n")
            assert text.count(old) == 1, f"{file.name} has {text.count(old)} places for {old!r}"
            text = text.replace(old, new)
        file.write_text(text)


def run(line: str, folder: Path, data: Path) -> str:
    """Run a line of a recipe."""
    program, *arguments = line.split()
    command = [sys.executable, *PROGRAMS[program], *arguments]
    environment = {"PYTHONPATH": str(folder), "COTAM_DATA": str(data)}
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    return done.stdout


def test_there_are_recipes_for_all_that_is_added_often() -> None:
    assert set(recipes()) == {"guide", "loss", "tool", "judge", "model", "family"}


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes())
def test_a_recipe_works_as_it_is_written(
    name: str, tmp_path: Path, pictures: Path, photo: NDArray
) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason=f"{NEEDS[name]} is not installed")
    copy = tmp_path / "copy"
    for folder in FOLDERS:
        ignored = shutil.ignore_patterns("golden", "attacks")
        shutil.copytree(ROOT / folder, copy / folder, ignore=ignored)
    for file in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / file, copy)
    Image.fromarray(photo).save(copy / "photo.png")
    kodak = pictures / "eval" / "kodak"
    kodak.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(kodak / "kodim01.png")

    found = blocks(recipes()[name])
    for language, file, content in found:
        if file:
            (copy / file).write_text(content)
        elif language == "diff":
            apply(content, copy)
    commands = [line for kind, _, content in found if kind == "sh" for line in content.splitlines()]
    assert commands
    for line in commands:
        run(line, copy, pictures)
    if name == "tool":
        again = Image.open(copy / "again.png")
        assert again.tobytes() == Image.fromarray(photo).tobytes()
