"""Tests that need a GPU; `make gpu` runs them first."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import codec

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
LEAST_A_MINUTE = 1000


@pytest.fixture(scope="module")
def on_gpu() -> codec.Codec:
    return codec.load(device="cuda")


@pytest.mark.parametrize("quality", [5, 40, 90])
@pytest.mark.parametrize("guide", ["uniform", "student"])
def test_latents_are_those_of_the_processor(
    cotam: codec.Codec, on_gpu: codec.Codec, photo: NDArray[np.uint8], quality: int, guide: str
) -> None:
    """Files of GPU and CPU decode to identical y_hat on both."""
    for writer in (cotam, on_gpu):
        data = writer.encode(photo, tool="learned", quality=quality, guide=guide)
        here, there = (one.decode(data, level="latents") for one in (cotam, on_gpu))
        np.testing.assert_array_equal(here, there)
        pixels = [one.decode(data, output="array").astype(int) for one in (cotam, on_gpu)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 2


def test_golden_files_decode_alike() -> None:
    folder = Path(__file__).parent / "golden"
    for weights, name in (("toy", "v1-map"), ("toy-layers", "v1-layers-map")):
        data = (folder / f"{name}.ctm").read_bytes()
        place = folder / f"{weights}.safetensors"
        here, there = (
            codec.load(place, device=device).decode(data, level="latents")
            for device in ("cpu", "cuda")
        )
        np.testing.assert_array_equal(here, there)


def test_a_thousand_pictures_a_minute(
    on_gpu: codec.Codec, photo: NDArray[np.uint8], capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.asarray(Image.fromarray(photo).resize((768, 512)))
    data = on_gpu.encode(pixels, tool="learned", quality=50)
    on_gpu.decode(data, output="array")
    count = 50
    start = time.perf_counter()
    for _ in range(count):
        on_gpu.encode(pixels, tool="learned", quality=50)
    middle = time.perf_counter()
    for _ in range(count):
        on_gpu.decode(data, output="array")
    end = time.perf_counter()
    encodes, decodes = count / (middle - start), count / (end - middle)
    with capsys.disabled():
        print(f"\n768x512: {encodes:.1f} encodes and {decodes:.1f} decodes a second")
    assert 60 * encodes > LEAST_A_MINUTE


@pytest.mark.parametrize("size", [1, 8, 32])
def test_batches_of_the_transforms(size: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Analysis and synthesis of batches, as training runs them, in bfloat16."""
    from codec.weights import checkpoint
    from codec.weights.networks import from_checkpoint

    networks = from_checkpoint(checkpoint.load()).cuda().eval()
    x = torch.rand(size, 3, 256, 256, device="cuda").contiguous(memory_format=torch.channels_last)
    qp = torch.full((size, 16, 16), 30, device="cuda")
    rounds = 20

    def seconds() -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            for _ in range(rounds):
                networks.g_s(networks.g_a(x, qp).float().round(), qp)
        torch.cuda.synchronize()
        return time.perf_counter() - start

    seconds()
    rate = rounds * size * 256 * 256 / 1e6 / seconds()
    with capsys.disabled():
        print(f"\nbatches of {size}: {rate:.1f} megapixels a second through both transforms")
    assert rate > 1
