"""The files that `cotam export --web` writes, tested without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codec.errors import BadArgument
from codec.export import web
from codec.graphs.compact import stored
from codec.graphs.half import makers
from codec.weights import checkpoint
from tests.conftest import ROOT, run_cotam

TOY = ROOT / "tests" / "golden" / "toy-layers.safetensors"


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """A folder in the layout of an installed onnxruntime-web."""
    folder = tmp_path / "node_modules" / web.PACKAGE
    (folder / "dist").mkdir(parents=True)
    for name in web.RUNTIME:
        (folder / "dist" / name).write_bytes(b"runtime")
    return folder


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["int8", "float16", "float32", "zeros"]),
    st.integers(-20, 20),
)
def test_a_constant_is_stored_exactly_or_not_at_all(seed: int, kind: str, power: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (16, 24)).astype(np.float32)
    if kind == "int8":
        rows = np.exp2(random.integers(-12, 12, (16, 1)) + power)
        values = (random.integers(-127, 128, (16, 24)) * rows).astype(np.float32)
    elif kind == "float16":
        values = values.astype(np.float16).astype(np.float32)
    elif kind == "zeros":
        values[:] = 0
    small = stored(values)
    if small is None:
        assert kind == "float32"
        return
    scale = 1 if small.scale is None else small.scale
    assert np.array_equal(small.values.astype(np.float32) * scale, values)
    assert small.values.nbytes <= values.nbytes / 2


def test_compact_graphs_compute_the_same() -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    weights = checkpoint.load(TOY)
    random = np.random.default_rng(5)
    z = weights.metadata["config"]["z"]
    feeds = {
        "z": random.integers(-31, 32, (2, 3, z)).astype(np.float32),
        "qp": random.integers(0, 64, (8, 12)),
    }
    found = []
    for compact in (False, True):
        graph = makers(weights, compact)["features_1.onnx"]()
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        found.append((len(graph), session.run(None, feeds)[0]))
    assert np.array_equal(found[0][1], found[1][1])
    assert found[1][0] < 0.6 * found[0][0]


def test_the_folder_holds_page_weights_and_runtime(tmp_path: Path, runtime: Path) -> None:
    weights = checkpoint.load(TOY)
    sizes = web.export(weights, tmp_path / "site", runtime)
    assert (tmp_path / "site" / "index.html").is_file()
    assert sizes["runtime"] == 3 * len(b"runtime")
    folder = tmp_path / "site" / "models" / weights.fingerprint.hex()
    facts = json.loads((folder / "model.json").read_text())
    assert facts["graphs"][-1] == "synthesis"
    assert {f"{name}.onnx" for name in facts["graphs"]} == {p.name for p in folder.glob("*.onnx")}
    tables = np.frombuffer((folder / "tables.bin").read_bytes(), "<u2")
    assert np.array_equal(tables, weights.tables.frequencies)
    assert not list((tmp_path / "site").rglob("*.py"))


def test_a_missing_runtime_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(web.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BadArgument, match="--runtime npm"):
        web.find_runtime()
    with pytest.raises(BadArgument, match="is no onnxruntime-web"):
        web.runtime_files(tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(BadArgument, match="npm, which is not installed"):
        web.find_runtime("npm")


def test_the_command_writes_a_site(tmp_path: Path, runtime: Path) -> None:
    site = tmp_path / "site"
    done = run_cotam("export", "--web", site, "--model", TOY, "--runtime", runtime)
    assert done.returncode == 0, done.stderr
    assert "page and module" in done.stdout.decode()
    assert (site / "cotam.js").is_file()
    assert run_cotam("export").returncode == 2
    done = run_cotam("export", "--web", tmp_path / "other", "--runtime", tmp_path)
    assert done.returncode == 1
    assert not (tmp_path / "other").exists()
