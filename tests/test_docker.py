"""The steps of the Docker image, run one by one without a Docker engine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import ROOT
from tests.test_install import copy_of_the_tree


def test_every_step_is_one_that_is_tested_here() -> None:
    text = (ROOT / "Dockerfile").read_text()
    steps = re.findall(r"^RUN (.*)$", text, re.M)
    assert steps == ['sh docker/install.sh "$DEVICE" /opt/cotam', "sh docker/user.sh cotam"]
    copied = re.findall(r"^COPY (?!--from)(.*) \\S+$", text, re.M)
    assert all((ROOT / name).exists() for names in copied for name in names.split())
    assert text.count("USER cotam") == 1
    allowed = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert {name for names in copied for name in names.split()} <= allowed


@pytest.mark.slow
def test_the_install_step_gives_a_codec_without_pytorch(
    tmp_path: Path, photo: NDArray[np.uint8]
) -> None:
    place = tmp_path / "cotam"
    source = copy_of_the_tree(tmp_path / "source", "docker")
    # Compiling the packages takes half of the time. pip takes the 0 as the value of `compile`.
    pip = {"PIP_NO_COMPILE": "0"}
    environment = os.environ | {"PYTHON": sys.executable} | pip
    environment.pop("PYTHONPATH", None)
    subprocess.run(
        ["sh", "docker/install.sh", "cpu", place],
        cwd=source,
        env=environment,
        check=True,
        timeout=600,
    )
    Image.fromarray(photo).save(tmp_path / "cat.png")
    plain = {"PATH": f"{place / 'bin'}:/usr/bin:/bin", "COTAM_GRAPHS": str(place / "graphs")}
    for arguments in (["encode", "cat.png"], ["decode", "cat.ctm", "-o", "back.png"], ["models"]):
        done = subprocess.run(
            ["cotam", *arguments],
            cwd=tmp_path,
            env=plain,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert not list(place.glob("lib/*/site-packages/torch"))
    wrong = subprocess.run(
        ["sh", "docker/install.sh", "tpu", tmp_path / "x"],
        cwd=source,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert wrong.returncode == 2


def test_the_user_step_makes_a_user(tmp_path: Path) -> None:
    if os.geteuid() or not shutil.which("useradd"):
        pytest.skip("making users needs root and useradd")
    for name in ("passwd", "group", "shadow", "gshadow"):
        (tmp_path / "etc").mkdir(exist_ok=True)
        (tmp_path / "etc" / name).touch()
    subprocess.run(["sh", ROOT / "docker" / "user.sh", "cotam", tmp_path], check=True, timeout=60)
    assert "cotam" in (tmp_path / "etc" / "passwd").read_text()
    assert (tmp_path / "home" / "cotam").is_dir()
