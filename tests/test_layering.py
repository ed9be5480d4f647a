"""The order of the packages: imports only go to lower packages, and there are no cycles."""

from __future__ import annotations

import ast
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.conftest import ROOT

# From bottom to top. Packages in the same row do not import each other.
LAYERS = (
    ("codec.batches", "codec.errors", "codec.forks"),
    ("codec.memory", "codec.networks", "codec.host_state", "codec.web"),
    ("codec.bitstream", "codec.quality", "codec.towers"),
    ("codec.coding", "codec.weights"),
    ("codec.io", "codec.guidance"),
    ("codec.graphs",),
    ("codec.backends",),
    ("codec.tuning", "codec.tools"),
    ("codec.info",),
    ("codec.results", "codec.options"),
    ("codec.tokens", "codec.tool_files"),
    ("codec.api",),
    ("codec.stream",),
    ("codec",),
    ("codec.export", "codec.integrations"),
    ("codec.evaluation", "codec.view"),
    ("codec.cli",),
    ("training",),
    ("benchmarks",),
)
ROOMS = {room: level for level, row in enumerate(LAYERS) for room in row}
TORCH_FREE = (
    "codec.batches codec.errors codec.forks codec.memory codec.quality codec.bitstream "
    "codec.coding codec.io codec.info "
    "codec.options codec.backends.manifest codec.backends.onnx codec.backends.openvino "
    "codec.backends.lazy codec.graphs codec.weights.checkpoint codec.weights.safetensors_file "
    "codec.weights.shipped codec.tools codec.tokens.selection codec.integrations.pillow "
    "codec.guidance.importance codec.guidance.files codec.guidance.rate_estimate codec.stream "
    "codec.cli"
).split()
MOST_MODULES = 13


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


SOURCES = {
    module_name(path): path
    for folder in ("codec", "training", "benchmarks")
    for path in sorted((ROOT / folder).rglob("*.py"))
}


def imports_of(module: str) -> set[str]:
    """Names of all modules that a module imports, including imports in functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(SOURCES[module].read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                names.add(full if full in SOURCES else node.module)
    return names


@cache
def graph() -> dict[str, set[str]]:
    """The imports of every module; it takes too long for the collection of tests."""
    return {module: imports_of(module) for module in SOURCES}


def room_of(module: str) -> str:
    """The package of LAYERS that a module belongs to."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "codec" else parts[0]


def own_imports() -> set[tuple[str, str]]:
    """(importing, imported) for every import between two modules of this repository."""
    return {(a, b) for a, names in graph().items() for b in names if b in SOURCES and a != b}


def cycles() -> list[list[str]]:
    """Groups of modules that import each other in a cycle (Tarjan, 1972)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(module: str) -> None:
        order[module] = low[module] = len(order)
        stack.append(module)
        for name in sorted(graph()[module] & SOURCES.keys() - {module}):
            if name not in order:
                visit(name)
            if name in stack:
                low[module] = min(low[module], low[name])
        if low[module] == order[module]:
            group = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(group) > 1:
                groups.append(group)

    for module in SOURCES:
        if module not in order:
            visit(module)
    return groups


def test_imports_go_down_and_never_round(capsys: pytest.CaptureFixture[str]) -> None:
    crossing = {(a, b) for a, b in own_imports() if room_of(a) != room_of(b)}
    unknown = {room_of(module) for pair in crossing for module in pair} - ROOMS.keys()
    assert not unknown, f"add to LAYERS: {sorted(unknown)}"
    upward = sorted((a, b) for a, b in crossing if ROOMS[room_of(b)] >= ROOMS[room_of(a)])
    circles = cycles()
    with capsys.disabled():
        rooms = {room_of(module) for module in SOURCES}
        arrows = {(room_of(a), room_of(b)) for a, b in crossing}
        print(
            f"\n{len(SOURCES)} modules in {len(rooms)} packages, {len(arrows)} imports between "
            f"packages, {len(upward)} upward, {len(circles)} cycles"
        )
    assert not upward
    assert not circles


def test_modules_without_networks_do_not_import_torch() -> None:
    for module, names in graph().items():
        if any(module == free or module.startswith(f"{free}.") for free in TORCH_FREE):
            tops = {name.split(".")[0] for name in names}
            assert module == "codec.results" or "torch" not in tops, module


def test_no_folder_is_crowded() -> None:
    folders: dict[Path, int] = {}
    for path in SOURCES.values():
        if path.name != "__init__.py":
            folders[path.parent] = folders.get(path.parent, 0) + 1
    crowded = {str(f.relative_to(ROOT)): n for f, n in folders.items() if n > MOST_MODULES}
    assert not crowded


def test_nothing_large_or_foreign_is_committed() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    files = [ROOT / name for name in listed.stdout.split("\0") if name]
    assert max(p.stat().st_size for p in files if p.exists()) < 16 << 20
    assert not [p for p in files if p.suffix in {".pkl", ".pt", ".pth", ".ckpt"}]
