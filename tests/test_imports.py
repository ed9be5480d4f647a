"""Each command imports only what it needs, so that it starts quickly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from tests.conftest import ROOT

# Packages that take more than 20 ms to import, or that a plain install lacks.
HEAVY = {
    "PIL",
    "constriction",
    "numpy",
    "onnxruntime",
    "open_clip",
    "pydantic",
    "rich",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
    "transformers",
}
SCRIPT = """
import json, os, sys
end = os._exit
def listed(status):
    print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})), file=sys.stderr)
    sys.stderr.flush()
    end(status)
os._exit = listed
from codec.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, photo: NDArray[np.uint8]) -> Path:
    """A photograph and a drawing, with their .ctm files."""
    folder = tmp_path_factory.mktemp("imports")
    drawing = np.full((128, 128, 3), 255, np.uint8)
    drawing[20:60, 30:100] = (200, 30, 30)
    for name, pixels in (("photo", photo), ("drawing", drawing)):
        Image.fromarray(pixels).save(folder / f"{name}.png")
        (folder / f"{name}.ctm").write_bytes(codec.load().encode(pixels))
    return folder


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        ("--help", set()),
        ("--version", set()),
        ("info drawing.ctm", set()),
        ("doctor --fast", {"PIL", "numpy", "constriction", "safetensors"}),
        ("desktop --help", set()),
        ("info photo.ctm", {"numpy", "constriction"}),
        ("encode drawing.png -o out.ctm", {"PIL", "numpy", "constriction"}),
        ("decode drawing.ctm -o out.png", {"PIL", "numpy", "constriction"}),
        (
            "encode photo.png -o out.ctm",
            {"PIL", "numpy", "constriction", "safetensors", "onnxruntime"},
        ),
        (
            "decode photo.ctm -o out.png",
            {"PIL", "numpy", "constriction", "safetensors", "onnxruntime"},
        ),
    ],
)
def test_what_a_command_imports(files: Path, arguments: str, heavy: set[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments.split()],
        cwd=files,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stderr.splitlines()[-1])) & HEAVY <= heavy


@pytest.mark.parametrize(
    ("module", "arguments", "expected"),
    [
        ("training.train", ["--cfg", "job", "experiment=joint"], []),
        ("training.data.pages", ["--help"], []),
        (
            "training.export",
            [str(ROOT / "checkpoints" / "tiny.safetensors"), "mine.safetensors", "--slope", "3"],
            ["torch"],
        ),
    ],
)
def test_training_commands_import_lightning_only_to_train(
    module: str, arguments: list[str], expected: list[str], tmp_path: Path
) -> None:
    pytest.importorskip("hydra", reason="cotam[train] is not installed")
    program = (
        "import runpy, sys\n"
        "try:\n"
        f"    runpy.run_module({module!r}, run_name='__main__', alter_sys=True)\n"
        "finally:\n"
        "    print(sorted({'pytorch_lightning', 'torch'} & set(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert done.stderr.splitlines()[-1] == str(expected)
