"""The package as pip installs it: one folder that has the weights, and a working command."""

from __future__ import annotations

import os
import re
import runpy
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from email.parser import BytesParser
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import ROOT

BUILD_FILES = (
    *("setup.py", "setup.cfg", "pyproject.toml", "README.md", "MANIFEST.in"),
    "docs/cotam.1",
)
PACKAGED = ("codec", "checkpoints")
CLONED = ("training", "benchmarks", "conf", "docs", "tests", "docker", ".ci")
IGNORED = shutil.ignore_patterns("__pycache__", "results", ".rows-*", "*.egg-info")
PIP = (sys.executable, "-m", "pip")


def copy_of_the_tree(target: Path, *folders: str) -> Path:
    """A copy of the clone with the files that a build needs and some other folders."""
    target.mkdir()
    for name in (*PACKAGED, *folders):
        shutil.copytree(ROOT / name, target / name, ignore=IGNORED)
    for name in BUILD_FILES:
        (target / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, target / name)
    return target


def new_environment(folder: Path) -> Path:
    """Make a virtual environment with this one's packages except cotam; returns its Python.

    The packages are added by a path in a .pth file. Such a path is searched last, and .pth files
    below it, such as that of an editable install of cotam, are ignored.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    python = folder / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_paths()['purelib'])"
    site = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True).stdout
    (Path(site.strip()) / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    return python


def pip_install(python: Path, *what: object) -> None:
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    command = [*PIP, "--python", python, "install", *options, *map(str, what)]
    subprocess.run(command, check=True, timeout=300, capture_output=True, env=clean())


def clean() -> dict[str, str]:
    """The environment variables without PYTHONPATH, which leads to the clone."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def run(*command: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=clean(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(sdist, wheel); the wheel is built from the unpacked sdist."""
    folder = tmp_path_factory.mktemp("dist")
    source = copy_of_the_tree(folder / "source", *CLONED)
    build = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, folder], cwd=source, check=True, capture_output=True
    )
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as tar:
        tar.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    command = [*PIP, "wheel", *options, "--wheel-dir", folder, unpacked]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


@pytest.mark.slow
def test_a_wheel_holds_one_package_with_everything_it_needs(
    distributions: tuple[Path, Path],
) -> None:
    with zipfile.ZipFile(distributions[1]) as wheel:
        names = wheel.namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith((".dist-info", ".data"))} == {"codec"}
    assert [name.partition(".data/")[2] for name in names if ".data/" in name] == [
        "data/share/man/man1/cotam.1"
    ]
    packaged = {name.removeprefix("codec/") for name in names}
    for path in (ROOT / "codec").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert str(path.relative_to(ROOT / "codec")) in packaged
    weights = {name for name in packaged if name.endswith(".safetensors")}
    guides = {f"checkpoints/guides/{path.name}" for path in (ROOT / "checkpoints/guides").iterdir()}
    assert {name for name in guides if name.endswith(".safetensors")} <= weights
    # The wheel has one set of weights; the others are in cotam-models.
    assert {name for name in weights if name.count("/") == 1} == {"checkpoints/small.safetensors"}
    assert {str(Path(name).with_suffix(".md")) for name in weights} <= packaged


@pytest.mark.slow
def test_all_other_weights_are_in_a_package_of_their_own(tmp_path: Path) -> None:
    source = tmp_path / "checkpoints"
    shutil.copytree(ROOT / "checkpoints", source)
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    command = [*PIP, "wheel", *options, "--wheel-dir", tmp_path, source]
    subprocess.run(command, check=True, timeout=300, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packaged = {name for name in archive.namelist() if name.endswith(".safetensors")}
    names = {path.name for path in (ROOT / "checkpoints").glob("*.safetensors")}
    adapters = {path.name for path in (ROOT / "checkpoints" / "adapters").glob("*.safetensors")}
    expected = {f"cotam_models/{name}" for name in names - {"small.safetensors"}}
    assert packaged == expected | {f"cotam_models/adapters/{name}" for name in adapters}


@pytest.mark.slow
def test_an_installed_wheel_works_from_another_folder(
    distributions: tuple[Path, Path], tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    python = new_environment(tmp_path / "env")
    pip_install(python, distributions[1])
    Image.fromarray(photo).save(tmp_path / "cat.png")
    where = run(python, "-c", "import codec; print(codec.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(tmp_path / "env")), where.stdout + where.stderr
    cotam = python.with_name("cotam")
    for arguments in (["models"], ["encode", "cat.png"], ["decode", "cat.ctm", "-o", "back.png"]):
        done = run(cotam, *arguments, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "back.png").size == (451, 300)
    assert (python.parents[1] / "share" / "man" / "man1" / "cotam.1").is_file()
    doctor = run(cotam, "doctor", cwd=tmp_path)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    train = run(python.with_name("cotam-train"), "experiment=toy", cwd=tmp_path)
    assert train.returncode == 1
    assert train.stderr.count("\n") == 1
    assert "clone" in train.stderr


@pytest.mark.slow
def test_an_editable_install_of_a_clone_trains_from_another_folder(tmp_path: Path) -> None:
    clone = copy_of_the_tree(tmp_path / "clone", "training", "conf")
    python = new_environment(tmp_path / "env")
    pip_install(python, "-e", clone)
    models = run(python.with_name("cotam"), "models", cwd=tmp_path)
    assert "small-mse" in models.stdout, models.stderr
    train = run(python.with_name("cotam-train"), "--cfg", "job", "experiment=joint", cwd=tmp_path)
    assert "deit_tiny" in train.stdout, train.stderr


def test_a_missing_training_package_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from codec.cli import train

    monkeypatch.delitem(sys.modules, "training.train", raising=False)
    monkeypatch.setitem(sys.modules, "hydra", None)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with pytest.raises(SystemExit, match=r"hydra is missing.*\[train\]"):
        train.main()
    monkeypatch.setattr(train, "CLONE", tmp_path)
    with pytest.raises(SystemExit, match="clone"):
        train.main()


@pytest.mark.slow
def test_a_package_index_accepts_the_description(distributions: tuple[Path, Path]) -> None:
    check = pytest.importorskip("twine.commands.check", reason="cotam[dev] is not installed")
    assert check.check([str(path) for path in distributions], strict=True) is False
    with zipfile.ZipFile(distributions[1]) as wheel:
        (name,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
        metadata = BytesParser().parsebytes(wheel.read(name))
    assert "numpy<3,>=1.24" in metadata.get_all("Requires-Dist", [])
    assert metadata["Requires-Python"] == ">=3.10"
    assert not relative_links(metadata.get_payload())


@pytest.fixture(scope="module")
def portable() -> Callable[[str], str]:
    return runpy.run_path(str(ROOT / "setup.py"))["portable"]  # type: ignore[no-any-return]


def relative_links(markdown: str) -> list[str]:
    """Relative targets of links and pictures in Markdown or HTML."""
    targets = re.findall(r"\]\(\s*<?([^)\s>]+)", markdown)
    targets += re.findall(r"^\s*\[[^\]]+\]:\s*(\S+)", markdown, re.M)
    targets += re.findall(r"\b(?:src|href|srcset)=[\"']([^\"']+)", markdown)
    return [target for target in targets if not target.startswith(("http://", "https://"))]


def test_the_readmes_links_need_no_repository(portable: Callable[[str], str]) -> None:
    readme = (ROOT / "README.md").read_text()
    assert not relative_links(portable(readme))
    assert [line for line in readme.splitlines() if line.startswith("#")] == [
        line for line in portable(readme).splitlines() if line.startswith("#")
    ]


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("see [the format](docs/format.md#head)", "see the format (`docs/format.md`)"),
        ("[docs/format.md](docs/format.md)", "docs/format.md"),
        ("[below](#results)", "below"),
        ("![A curve](docs/rd.svg)", "*A curve (`docs/rd.svg`)*"),
        (
            "[![A curve](docs/rd.svg)](docs/design.md)",
            "*A curve (`docs/rd.svg`)* (`docs/design.md`)",
        ),
        ('<img src="docs/rd.svg" alt="A curve" width="80%">', "<em>A curve</em>"),
        ("[arXiv](https://arxiv.org/abs/1802.01436)", "[arXiv](https://arxiv.org/abs/1802.01436)"),
        ("cells[0](x, y) and `a[i]`", "cells[0](x, y) and `a[i]`"),
    ],
)
def test_a_relative_link_becomes_words(
    portable: Callable[[str], str], markdown: str, words: str
) -> None:
    assert portable(markdown) == words
