"""Commands, code, links and make targets in the README and in docs/ exist.

::

    pages -> code blocks -+-> cotam ...       parsed; on the front pages also run
                          +-> cotam-train ... composed by Hydra
                          +-> python -m ...   the module exists, its options occur in it
                          +-> make ...        a target of the Makefile
    pages -> links ---------> files and headings exist
"""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from tests.conftest import ROOT, run_cotam
from tests.test_stream import screen

PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "benchmarks" / "README.md",
    ROOT / "checkpoints" / "TRAINING.md",
]
FRONT = [ROOT / "README.md", ROOT / "docs" / "getting-started.md"]
# Limits for the front page: number of words, and line of the installation.
MOST_WORDS = 900
INSTALL_BY_LINE = 30
COMMAND = re.compile(r"^(?:    |\$ )?(cotam-train|cotam|make|python -m [\w.]+)(?=\s|$)(.*)$")
INLINE = re.compile(r"`((?:cotam-train|cotam|make|python -m) [^`]+)`")
LINK = re.compile(r"(?<!!)\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^()\s]+)\)|!\[[^\]]*\]\(([^()\s]+)\)")


def code_lines(page: Path) -> Iterator[str]:
    """Lines of indented blocks and of fenced blocks that are not Python, and inline code."""
    kind: str | None = None
    for line in page.read_text().replace("\\\n", " ").splitlines():
        if line.startswith("```"):
            kind = (line[3:].split() or [""])[0] if kind is None else None
        elif kind in ("", "sh", "bash", "console") or (kind is None and line.startswith("    ")):
            yield line
        else:
            yield from INLINE.findall(line)


def commands(program: str, pages: list[Path] = PAGES) -> list[tuple[str, list[str]]]:
    """(page, words) of each line that runs a program."""
    found = []
    for page in pages:
        for line in code_lines(page):
            match = COMMAND.match(line)
            if match and match[1].startswith(program):
                rest = match[2].split("  #")[0].split(" # ")[0].split(" | ")[0]
                found.append((page.name, [match[1], *shlex.split(rest)]))
    return [one for one in found if one[1][0] == program or program == "python -m"]


def called(name: str) -> click.Command:
    """The command with this name."""
    from codec.cli.main import COMMANDS

    module, _, attribute = COMMANDS[name][0].partition(":")
    command: click.Command = getattr(import_module(module), attribute)
    return command


def test_every_cotam_command_of_the_pages_is_parsed() -> None:
    found = commands("cotam")
    assert len(found) > 40
    for page, words in found:
        if len(words) == 1 or not words[1].isalpha() or not words[1].islower():
            continue
        command = called(words[1])
        context = click.Context(command, info_name=words[1], **command.context_settings)
        try:
            command.make_parser(context).parse_args(list(words[2:]))
        except click.UsageError as error:
            pytest.fail(f"{page}: {' '.join(words)}: {error.format_message()}")


@pytest.fixture
def desk(tmp_path: Path, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the front pages name."""
    Image.fromarray(photo).save(tmp_path / "photo.jpg", quality=95)
    Image.fromarray(screen()).save(tmp_path / "shot.png")
    (tmp_path / "holiday").mkdir()
    Image.fromarray(photo[:64, :96]).save(tmp_path / "holiday" / "beach.jpg")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("page", FRONT, ids=lambda page: page.name)
def test_the_commands_of_a_front_page_run_in_their_order(page: Path, desk: Path) -> None:
    for _, words in commands("cotam", [page]):
        if words[1] in ("view", "serve"):
            continue  # they run until they are stopped, and have separate tests
        done = run_cotam(*words[1:], cwd=desk)
        assert done.returncode == 0, (words, done.stderr)


def test_the_code_of_the_front_page_runs(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("transformers", reason="cotam[mllm] is not installed")
    from codec.integrations.transformers import unregister
    from tests import families

    monkeypatch.chdir(desk)
    Path("photo.ctm").write_bytes(codec.load().encode("photo.jpg"))
    names: dict[str, Any] = {
        "processor": families.llava()[1],
        "screenshots": [screen(), screen(menu=True)],
    }
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    try:
        for block in blocks:
            exec(compile(block, "README.md", "exec"), names)
    finally:
        unregister()
    assert names["image"].size == screen().shape[1::-1]
    assert codec.decode(names["face"]).size == (451, 300)
    assert "pixel_values" in names["inputs"]
    assert not names["frame"].is_key


@pytest.mark.slow
def test_every_training_command_is_composed() -> None:
    hydra = pytest.importorskip("hydra", reason="cotam[train] is not installed")
    # The recipes of CONTRIBUTING.md create what they run; tests/test_recipes.py tests them.
    pages = [page for page in PAGES if page.name != "CONTRIBUTING.md"]
    found = commands("cotam-train", pages)
    assert len(found) > 8
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        for page, words in found:
            settings = [word for word in words[1:] if not word.startswith("-")]
            try:
                hydra.compose("train", settings)
            except Exception as error:
                pytest.fail(f"{page}: {' '.join(words)}: {error}")


def test_every_module_that_is_run_exists_and_has_its_options() -> None:
    found = commands("python -m")
    assert len(found) > 10
    for page, (program, *arguments) in found:
        module = program.removeprefix("python -m ")
        if not module.startswith(("codec", "benchmarks", "training", "tests")):
            continue  # belongs to another package, which may not be installed
        spec = importlib.util.find_spec(module)
        assert spec is not None, f"{page}: {program}"
        assert spec.origin is not None
        origin = Path(spec.origin)
        files = origin.parent.rglob("*.py") if origin.name == "__init__.py" else [origin]
        text = "".join(file.read_text() for file in files)
        text += (ROOT / "benchmarks" / "lib" / "output.py").read_text()
        for flag in (word for word in arguments if word.startswith("--")):
            assert f'"{flag.split("=")[0]}"' in text, f"{page}: {program} {flag}"


def test_every_target_of_make_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))
    found = commands("make")
    assert found
    for page, words in found:
        for word in words[1:]:
            assert "=" in word or word in targets, f"{page}: make {word}"


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosting sites generate them."""
    heads = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_every_link_leads_somewhere() -> None:
    for page in PAGES:
        for target in (one or other for one, other in LINK.findall(page.read_text())):
            if re.match(r"https?://|mailto:", target):
                continue
            path, _, anchor = target.partition("#")
            file = (page.parent / path).resolve() if path else page
            assert file.exists(), f"{page.name}: {target}"
            if anchor and file.suffix == ".md":
                assert anchor in anchors(file), f"{page.name}: {target}"


def test_the_readme_is_short_and_begins_with_the_installation() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.split()) <= MOST_WORDS
    first = "\n".join(text.splitlines()[:INSTALL_BY_LINE])
    for needed in ("pip install", "make demo", "make test"):
        assert needed in first


def test_the_index_lists_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "index.md" or f"({page.name}" in index, page.name
