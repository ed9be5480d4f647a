"""PyTorch and ONNX Runtime give the same latents for the same weights; choice of the backend."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import codec
from codec.backends import runtime
from codec.backends.onnx import OnnxBackend
from codec.backends.openvino import OpenVinoBackend
from codec.backends.runtime import Runtime
from codec.backends.torch import TorchBackend
from codec.graphs.half import makers
from codec.networks.config import ModelConfig
from codec.networks.model import Networks
from codec.weights import checkpoint
from codec.weights.networks import to_arrays
from tests.conftest import ROOT

Decoded = list[NDArray[np.float32]]


def random_weights(low: int, with_block: bool) -> checkpoint.Checkpoint:
    """Untrained weights of an unusual size."""
    torch.manual_seed(low)
    sizes = {"n": 24, "c": 40, "m": 16, "h": 12, "z": 8, "p": 20, "low": low, "p_low": 12}
    config = ModelConfig("random", **sizes, step_block=with_block, hidden8=28)
    metadata = {"name": "random", "config": config.to_dict(), "skip_below": 0}
    return checkpoint.Checkpoint(to_arrays(Networks(config)), metadata)


def assert_same_prior(weights: checkpoint.Checkpoint, rows: int, columns: int, seed: int) -> None:
    """Assert that both backends predict the same means and scale indexes for random symbols."""
    backends = TorchBackend(weights, "cpu"), OnnxBackend(weights)
    random = np.random.default_rng(seed)
    channels = weights.metadata["config"]["z"]
    z = random.integers(-31, 32, (rows, columns, channels)).astype(np.float32)
    qp = random.integers(0, 64, (4 * rows, 4 * columns))
    decoded: Decoded = []
    for layer in weights.layers:
        features = [backend.features(layer, z, qp) for backend in backends]
        for step in range(4):
            (mean, index), (other_mean, other_index) = (
                backend.prior_step(layer, step, feature, decoded)
                for backend, feature in zip(backends, features)
            )
            np.testing.assert_array_equal(mean, other_mean)
            np.testing.assert_array_equal(index, other_index)
            decoded.append(mean + random.integers(-300, 301, mean.shape).astype(np.float32))


@pytest.mark.parametrize("name", checkpoint.names())
def test_the_prior_is_the_same_bits(name: str) -> None:
    assert_same_prior(checkpoint.load(name), 2, 3, 7)


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    st.sampled_from((0, 4, 8)), st.booleans(), st.integers(1, 4), st.integers(1, 4), st.integers(0)
)
def test_the_prior_of_any_size_is_the_same_bits(
    low: int, with_block: bool, rows: int, columns: int, seed: int
) -> None:
    assert_same_prior(random_weights(low, with_block), rows, columns, seed)


needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="cotam[openvino] is not installed"
)
WITH_OPENVINO = ["onnx", pytest.param("openvino", marks=needs_openvino)]


@pytest.mark.slow
@pytest.mark.parametrize("other", WITH_OPENVINO)
def test_pixels_agree_within_one(other: Runtime, photo: NDArray[np.uint8]) -> None:
    codecs = [codec.load(device="cpu", backend="torch"), codec.load(device="cpu", backend=other)]
    for encoder in codecs:
        data = encoder.encode(photo, tool="learned")
        latents = [one.decode(data, level="latents") for one in codecs]
        np.testing.assert_array_equal(*latents)
        pixels = [one.decode(data, output="array").astype(int) for one in codecs]
        assert (np.abs(pixels[0] - pixels[1]) <= 1).mean() >= 0.999
        previews = [one.decode(data, output="array", level="preview").astype(int) for one in codecs]
        assert np.abs(previews[0] - previews[1]).max() <= 1


HASH = """
import hashlib, os, sys
import codec
cotam = codec.load(device="cpu", backend=sys.argv[1])
if sys.argv[1] == "torch":
    import torch
    torch.set_num_threads(int(os.environ["COTAM_THREADS"]))
latents = cotam.decode(open(sys.argv[2], "rb").read(), level="latents")
print(hashlib.sha256(latents.tobytes()).hexdigest())
"""


@pytest.mark.slow
def test_one_hash_over_backends_and_threads(photo: NDArray[np.uint8], tmp_path: Path) -> None:
    file = tmp_path / "a.ctm"
    file.write_bytes(codec.load().encode(photo, tool="learned", quality=70))
    hashes = set()
    names = ("torch", "onnx", "openvino") if find_spec("openvino") else ("torch", "onnx")
    for name in names:
        for threads in ("1", "2"):
            environment = os.environ | {"COTAM_THREADS": threads, "PYTHONPATH": str(ROOT)}
            command = [sys.executable, "-c", HASH, name, str(file)]
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=True, timeout=120
            )
            hashes.add(done.stdout)
    assert len(hashes) == 1


def test_graphs_are_valid_onnx() -> None:
    onnx = pytest.importorskip("onnx", reason="cotam[export] is not installed")
    for weights in (checkpoint.load("tiny"), random_weights(0, True)):
        for name, make in makers(weights).items():
            model = onnx.load_from_string(make())
            onnx.checker.check_model(model, full_check=True)
            assert model.graph.node, name


def test_tokens_come_from_the_same_latents(small: NDArray[np.uint8]) -> None:
    data = codec.load().encode(small, tool="learned")
    weights = checkpoint.load()
    decoded = codec.load().decode_full(data)
    backends = TorchBackend(weights, "cpu"), OnnxBackend(weights)
    values = [backend.dequantised(decoded.y_hat, decoded.qp) for backend in backends]
    np.testing.assert_allclose(*values, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["torch", *WITH_OPENVINO])
def test_a_used_codec_is_copied_and_pickled(name: Runtime, small: NDArray[np.uint8]) -> None:
    cotam = codec.load(device="cpu", backend=name)
    data = cotam.encode(small, tool="learned")
    copied = pickle.loads(pickle.dumps(cotam))
    assert copied.encode(small, tool="learned") == data


@needs_openvino
def test_threads_share_openvino(small: NDArray[np.uint8]) -> None:
    cotam = codec.load("tiny", backend="openvino")
    pictures = [np.roll(small, 7 * shift, 1) for shift in range(8)]
    expected = [cotam.encode(picture, tool="learned") for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        files = list(pool.map(lambda picture: cotam.encode(picture, tool="learned"), pictures))
    assert files == expected


@needs_openvino
def test_openvino_runs_transforms_alone() -> None:
    weights = checkpoint.load("tiny")
    backend = OpenVinoBackend(weights)
    latents = np.zeros((4, 4, weights.layers[-1].stop), np.float32)
    backend.hyper_analysis(latents)
    assert backend._compiled.cache_info().currsize == 0
    backend.synthesis(latents, 30)
    assert backend._compiled.cache_info().currsize == 1


@pytest.mark.skipif(find_spec("openvino") is not None, reason="cotam[openvino] is installed")
def test_a_missing_openvino_is_named() -> None:
    with pytest.raises(codec.BadArgument, match=r"cotam\[openvino\]"):
        OpenVinoBackend(checkpoint.load("tiny"))


FORK = """
import multiprocessing, sys
import numpy as np
import codec
cotam = codec.load(backend=sys.argv[1])
noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3)).astype(np.uint8)
data = cotam.encode(noise, tool="learned")
def total(data):
    return cotam.decode(data, output="array").sum()
before = total(data)
with multiprocessing.get_context("fork").Pool(1) as pool:
    print(pool.apply(total, (data,)) == before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.parametrize("name", WITH_OPENVINO)
def test_a_forked_child_decodes_after_its_parent(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORK, name],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "True", done.stderr
    assert multiprocessing.active_children() == []


CHOICE = """
import sys
from codec.backends import runtime
if sys.argv[1] == "torch first":
    import torch
print(runtime.chosen("auto", "cpu"))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "variables", "expected"),
    [
        ("nothing", {}, "onnx"),
        ("torch first", {}, "torch"),
        ("nothing", {"COTAM_BACKEND": "torch"}, "torch"),
        ("torch first", {"COTAM_BACKEND": "onnx"}, "onnx"),
    ],
)
def test_what_auto_means(first: str, variables: dict[str, str], expected: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("COTAM_BACKEND", None)
    done = subprocess.run(
        [sys.executable, "-c", CHOICE, first],
        env=environment | variables,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == expected


def test_unknown_backends_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(codec.BadArgument, match="auto, torch, onnx, openvino"):
        codec.load(backend="jax")  # type: ignore[arg-type]
    with pytest.raises(codec.BadArgument, match="CPU"):
        OnnxBackend(checkpoint.load("tiny"), "cuda")
    monkeypatch.setenv(runtime.VARIABLE, "jax")
    with pytest.raises(codec.BadArgument):
        runtime.chosen("auto", "cpu")
