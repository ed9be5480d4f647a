"""The package as pip installs it: weights and configuration come along."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import ROOT

TOP = ("codec", "training", "benchmarks", "checkpoints", "conf")


@pytest.mark.slow
def test_an_installed_package_is_complete(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    source, target = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for name in TOP:
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", ".rows-*")
        )
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(target),
    ]
    subprocess.run([*pip, str(source)], check=True, timeout=300, capture_output=True)
    Image.fromarray(photo).save(tmp_path / "cat.png")
    environment = os.environ | {"PYTHONPATH": str(target)}
    program = f"""
import sys
import codec
assert codec.__file__.startswith({str(target)!r}), codec.__file__
from codec.cli import main
main()
"""
    for arguments in (["models"], ["encode", "cat.png"], ["decode", "cat.ctm", "-o", "back.png"]):
        command = [sys.executable, "-c", program, *arguments]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    train = [sys.executable, "-m", "training.train", "--cfg", "job", "experiment=joint"]
    done = subprocess.run(
        train,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "DeiT" in done.stdout or "deit" in done.stdout, done.stderr
