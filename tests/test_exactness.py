"""The promise: symbols and y_hat are the same on every thread count and instruction set."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import codec
from codec.networks.integer import (
    ACTIVATION_MAX,
    CLIP,
    EXACT_LIMIT,
    FRACTION_BITS,
    UNIT,
    IntegerConv,
    integer_layers,
    quantize_activation,
    round_half_up,
)
from codec.weights import checkpoint
from codec.weights.networks import stored_bounds
from tests.conftest import ROOT

GOLDEN = Path(__file__).parent / "golden"

PRIOR_HASH = """
import hashlib, sys
import numpy as np, torch
import codec
from codec.weights import checkpoint
from codec.backends.torch import TorchBackend
backend = TorchBackend(checkpoint.load(), "cpu")
data = open(sys.argv[1], "rb").read()
for threads in map(int, sys.argv[2:]):
    torch.set_num_threads(threads)
    random = np.random.default_rng(7)
    digest = hashlib.sha256()
    for rows, cols in ((1, 1), (3, 5), (8, 12)):
        z = random.integers(-31, 32, (rows, cols, backend.networks.config.z)).astype(np.float32)
        qp = random.integers(0, 64, (4 * rows, 4 * cols))
        decoded = []
        for layer in backend.checkpoint.layers:
            features = backend.features(layer, z, qp)
            digest.update(features.tensor.numpy().tobytes())
            for step in range(4):
                mean, index = backend.prior_step(layer, step, features, decoded)
                digest.update(mean.tobytes() + index.tobytes())
                decoded.append(mean + random.integers(-300, 301, mean.shape).astype(np.float32))
    digest.update(codec.load(device="cpu").decode_full(data).y_hat.tobytes())
    print(digest.hexdigest())
"""

SETTINGS: list[tuple[Sequence[str], dict[str, str]]] = [
    ("123", {}),
    ("1", {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
    ("2", {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX"}),
    ("2", {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
]


@pytest.mark.slow
def test_one_hash_over_threads_and_instruction_sets(
    cotam: codec.Codec, photo: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "a.ctm"
    path.write_bytes(cotam.encode(photo, qp_map=np.array([[20, 40], [60, 1]])))
    hashes: list[str] = []
    for threads, variables in SETTINGS:
        command = [sys.executable, "-c", PRIOR_HASH, str(path), *threads]
        environment = os.environ | variables | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        hashes += done.stdout.split()
    assert len(hashes) == 6
    assert len(set(hashes)) == 1


@pytest.mark.parametrize("name", checkpoint.names())
def test_the_bound_is_proved_from_the_shipped_integers(name: str) -> None:
    loaded = checkpoint.load(name)
    found = stored_bounds(loaded.arrays)
    assert found == loaded.metadata["bounds"]["layers"]
    assert 0 < max(found.values()) < EXACT_LIMIT


def test_a_checkpoint_that_breaks_the_bound_is_refused(tmp_path: Path) -> None:
    loaded = checkpoint.load()
    arrays = dict(loaded.arrays)
    arrays["prior.hyper.up.bias"] = np.full_like(arrays["prior.hyper.up.bias"], EXACT_LIMIT)
    checkpoint.save(checkpoint.Checkpoint(arrays, loaded.metadata), tmp_path / "bad.safetensors")
    with pytest.raises(codec.UnknownModel, match="exactness"):
        codec.load(tmp_path / "bad.safetensors")


def test_integer_layers_equal_64_bit_integer_arithmetic(cotam: codec.Codec) -> None:
    """All pointwise layers give the same results as NumPy's int64, also for extreme activations."""
    random = np.random.default_rng(0)
    arrays = cotam.backend.checkpoint.arrays
    for name, layer in integer_layers(cotam.backend.networks.prior).items():  # type: ignore[attr-defined]
        if layer.groups > 1:
            continue
        w_int = arrays[f"prior.{name}.weight"].astype(np.int64)[:, :, 0, 0]
        x = random.integers(-ACTIVATION_MAX, ACTIVATION_MAX + 1, (w_int.shape[1], 5))
        x[:, 0] = ACTIVATION_MAX * np.sign(w_int[0])
        exact = w_int @ x + arrays[f"prior.{name}.bias"].astype(np.int64)[:, None]
        carried = torch.from_numpy(x.astype(np.float32) / 2**FRACTION_BITS)[None, :, None]
        out = layer(carried)[0, :, 0].double().numpy()
        scale = 2.0 ** (arrays[f"prior.{name}.exponent"].astype(float)[:, None] + FRACTION_BITS)
        np.testing.assert_array_equal(out * scale, exact)


def test_frozen_layers_equal_trained_ones() -> None:
    torch.manual_seed(0)
    layer = IntegerConv(40, 24)
    torch.nn.init.normal_(layer.weight, std=0.3)
    x = quantize_activation(torch.randn(1, 40, 6, 7) * 3)
    before = layer(x).detach()
    assert layer.bound() < EXACT_LIMIT
    layer.load_integers(*(v.detach() for v in layer.quantized()))
    assert torch.equal(layer(x), before)


def test_weights_of_any_size_keep_the_bound() -> None:
    torch.manual_seed(0)
    for scale in (1e-6, 1e-2, 1.0, 100.0):
        for fan_in in (1, 16, 800):
            layer = IntegerConv(fan_in, 8)
            torch.nn.init.normal_(layer.weight, std=scale)
            torch.nn.init.normal_(layer.bias, std=scale)
            assert layer.bound() < EXACT_LIMIT


def test_rounding_is_half_up() -> None:
    values = torch.tensor([-1.5, -0.5, 0.5, 1.5, 2.4999])
    assert round_half_up(values).tolist() == [-1.0, 0.0, 1.0, 2.0, 2.0]
    grown = values.clone().requires_grad_()
    round_half_up(grown).sum().backward()
    assert grown.grad is not None
    assert grown.grad.tolist() == [1.0] * 5


def test_activations_and_weights_have_straight_through_gradients() -> None:
    """Each is one autograd node with the values and gradients of the separate operations."""
    torch.manual_seed(0)
    values = torch.cat(
        [torch.randn(4000) * 6, torch.tensor([0.0, CLIP, -CLIP, UNIT / 2, -UNIT / 2])]
    )
    for low in (0.0, -CLIP):
        one, steps = (values.clone().requires_grad_() for _ in range(2))
        rounded = round_half_up(steps * 2.0**FRACTION_BITS) * UNIT
        wanted = torch.where(
            (rounded > low) & (rounded < CLIP), rounded, rounded.detach().clamp(low, CLIP)
        )
        found = quantize_activation(one, low)
        assert torch.equal(found, wanted)
        for made in (found, wanted):
            (made * torch.arange(len(values))).sum().backward()
        assert one.grad is not None
        assert torch.equal(one.grad, steps.grad)
        assert 10 < (one.grad == 0).sum() < len(values) - 10
    layer = IntegerConv(40, 24)
    w_int, b_int, k = layer.quantized()
    x = torch.randn(1, 40, 6, 7)
    scale = torch.exp2(-k)
    wanted = F.conv2d(x, w_int * scale[:, None, None, None], b_int * scale * UNIT)
    gradients = [
        torch.autograd.grad(made.square().sum(), [layer.weight, layer.bias])
        for made in (layer(x), wanted)
    ]
    assert torch.equal(layer(x), wanted)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v1*.ctm")), ids=lambda p: p.stem)
def test_golden_streams_decode_for_ever(path: Path) -> None:
    facts = json.loads(path.with_suffix(".json").read_text())
    loaded = codec.load(GOLDEN / facts["model"], device="cpu")
    decoded = loaded.decode_full(path.read_bytes())
    assert (
        hashlib.sha256(np.ascontiguousarray(decoded.y_hat).tobytes()).hexdigest()
        == facts["y_hat_sha256"]
    )
    assert list(decoded.picture.pixels.shape) == facts["shape"]


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("v2*.ctm")), ids=lambda p: p.stem)
def test_golden_files_of_screen_tools_decode_for_ever(path: Path) -> None:
    """Lossless tools are compared exactly, AV1 within 2 levels, since libavif converts colours."""
    facts = json.loads(path.with_suffix(".json").read_text())
    data = path.read_bytes()
    assert codec.inspect(data).tool == facts["tool"]
    image = codec.load(GOLDEN / facts["model"], device="cpu").decode(data).convert("RGBA")
    decoded = np.asarray(image)
    height, width = decoded.shape[:2]
    assert [height, width, 3] == facts["shape"]
    if facts["tool"] == "palette":
        digest = hashlib.sha256(np.ascontiguousarray(decoded).tobytes()).hexdigest()
        assert digest == facts["rgba_sha256"]
    samples = decoded[:: height // 16, :: width // 16].astype(int)
    assert np.abs(samples - np.array(facts["rgba_16x16"])).max() <= 2


def test_there_are_golden_streams_of_both_versions() -> None:
    assert {path.name[:2] for path in GOLDEN.glob("*.ctm")} == {"v1", "v2"}
