"""`cotam doctor` and `cotam man`."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

import codec
from codec.cli.health.features import FEATURES, features
from codec.cli.main import COMMANDS, app
from tests.conftest import ROOT, run_cotam
from tests.test_cli_help import ALL

PAGE = ROOT / "docs" / "cotam.1"


def here() -> set[str]:
    """The extras that the installed package declares; an older installation has fewer."""
    return set(FEATURES) & set(distribution("cotam").metadata.get_all("Provides-Extra") or ())


@pytest.mark.slow
def test_what_is_here() -> None:
    done = run_cotam("doctor", "--json", backend="onnx")
    assert done.returncode == 0, done.stdout
    report = json.loads(done.stdout)
    assert report["core"]["works"]
    assert report["core"]["backend"] == "onnx on cpu"
    assert set(report["core"]["milliseconds"]) == {"encode", "decode", "preview"}
    assert min(report["core"]["milliseconds"].values()) > 0
    assert {one["name"] for one in report["weights"]} == {one["name"] for one in codec.models()}
    assert "student" in report["guides"]
    assert ".avif" in report["formats"]["written"]
    assert report["backends"]["onnxruntime"]
    assert {one["extra"] for one in report["features"]} == {"models", *here()}


def test_the_same_in_words() -> None:
    lines = run_cotam("doctor", "--fast").stdout.decode().splitlines()
    labels = [line.split()[0] for line in lines if line[0] != " "]
    assert {"cotam", "processor", "bfloat16", "GPU", "backends", "weights", "guides"} <= {*labels}
    assert {"adapters", "reads", "writes", *here()} <= {*labels}
    assert max(map(len, lines)) < 160


@pytest.mark.slow
def test_a_broken_core_is_exit_status_1() -> None:
    done = run_cotam("doctor", backend="nonsense")
    assert done.returncode == 1
    assert "broken: backend must be one of" in done.stdout.decode()
    assert done.stderr == b""


def test_what_is_missing_is_named_with_its_command(tmp_path: Path) -> None:
    """The path has only the metadata of cotam and of one other package."""
    for name in ("cotam", "onnx"):
        folder = tmp_path / f"{name}-1.dist-info"
        folder.mkdir()
        installed = distribution(name)
        # An editable install has PKG-INFO instead of METADATA.
        metadata = installed.read_text("METADATA") or installed.read_text("PKG-INFO")
        assert metadata
        (folder / "METADATA").write_text(metadata)
    script = """
import json
from codec.cli.health.features import features
print(json.dumps({one.extra: [one.missing, one.command] for one in features()}))
"""
    done = subprocess.run(
        [sys.executable, "-S", "-c", script],
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    found = json.loads(done.stdout)
    assert found["torch"] == [["torch"], "pip install 'cotam[torch]'"]
    assert found["export"] == [[], "pip install 'cotam[export]'"]
    assert "starlette" in found["serve"][0]


def test_every_extra_is_a_feature_or_for_development() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    extras = set(settings["options.extras_require"])
    assert set(FEATURES) == extras - {"compressai", "demo", "dev"}
    assert all(not one.missing or one.command.startswith("pip install") for one in features())


def test_the_manual_is_that_of_this_version() -> None:
    made = run_cotam("man").stdout.decode()
    assert made == PAGE.read_text(), "run: cotam man > docs/cotam.1"


def test_the_manual_names_every_command_and_option() -> None:
    text = PAGE.read_text().replace("\\-", "-")
    assert set(COMMANDS) == set(app.lazy)  # type: ignore[attr-defined]
    for name, command in ALL.items():
        assert f".SS cotam {name} " in text
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or parameter.opts[-1] in text
    for line in PAGE.read_text().splitlines():
        # roff treats a line that begins with a dot as a macro.
        assert not line.startswith(".") or line.split()[0] in {
            *(".TH", ".SH", ".SS", ".PP", ".TP", ".B", ".I", ".BR")
        }


@pytest.mark.skipif(
    not (shutil.which("man") and shutil.which("groff")), reason="man or groff is not installed"
)
def test_man_shows_the_page_without_warnings() -> None:
    done = subprocess.run(
        ["man", "--warnings", "-l", PAGE],
        env=os.environ | {"MANWIDTH": "100", "MAN_KEEP_FORMATTING": "", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert "cotam encode [OPTIONS] IN..." in done.stdout
    assert "--target-size 20KB" in done.stdout
