"""The rules of the house, as far as a machine can check them."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

SOURCES = sorted(p for room in ("codec", "training", "benchmarks", "tests") for p in (ROOT / room).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Top-level packages and own rooms that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_files_and_functions_stay_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno <= 60, node.name


def test_rooms_import_only_what_they_may() -> None:
    forbidden = {
        "codec": ("training", "benchmarks", "tests"),
        "codec/bitstream": ("torch", "codec.networks", "codec.api", "codec.pipeline"),
        "codec/networks": ("codec.bitstream", "codec.rate", "codec.api", "codec.images", "PIL"),
        "codec/towers": ("codec.bitstream", "codec.api", "codec.networks", "codec.guidance"),
        "codec/guidance": ("codec.api", "codec.pipeline", "codec.backends"),
        "codec/receivers": ("codec.cli", "codec.integrations"),
        "codec/integrations": ("codec.cli", "codec.backends", "codec.guidance"),
        "training": ("codec.cli", "tests"),
    }
    names = "rate.py images.py png.py store.py latents.py tiles.py pipeline.py checkpoint.py errors.py".split()
    names += "batch.py heatmap.py info.py weights_file.py".split()
    names += ["backends/interface.py", "receivers/selection.py", "integrations/pillow.py"]
    names += [f"guidance/{name}.py" for name in ("__init__", "importance", "files", "rate_estimate")]
    torch_free = [ROOT / "codec" / name for name in names]
    for room, banned in forbidden.items():
        for path in (ROOT / room).rglob("*.py"):
            wrong = [i for i in imports(path) for b in banned if i == b or i.startswith(f"{b}.")]
            assert not wrong, f"{path} imports {wrong}"
    for path in torch_free:
        wrong = [i for i in imports(path) if i.split(".")[0] == "torch" and path.name != "batch.py"]
        assert not wrong, f"{path} imports {wrong}"


def test_nothing_large_or_foreign_is_committed() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert max(p.stat().st_size for p in files if p.exists()) < 16 << 20
    assert not [p for p in files if p.suffix in {".pkl", ".pt", ".pth", ".ckpt"}]
