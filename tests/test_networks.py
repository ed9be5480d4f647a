"""Properties of the untrained networks."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import codec
from codec.coding import latent_grid
from codec.networks import prior
from codec.networks.block_transform import (
    dct_matrix,
    first_stage,
    second_stage,
    start_as_block_transform,
)
from codec.networks.byte_stem import ByteStem
from codec.networks.config import ModelConfig
from codec.networks.gains import Gain
from codec.networks.model import Networks
from tests.conftest import psnr


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_the_order_of_steps_is_one_permutation_in_torch_and_numpy(h: int, w: int, m: int) -> None:
    y = torch.randn(1, 4 * m, 2 * h, 2 * w)
    array = y[0].permute(1, 2, 0).numpy()
    for a, b in zip(prior.split_steps(y), latent_grid.split_steps(array)):
        np.testing.assert_array_equal(a[0].permute(1, 2, 0).numpy(), b)
    assert torch.equal(prior.merge_steps(prior.split_steps(y)), y)
    merged = np.empty_like(array)
    latent_grid.merge_steps(latent_grid.split_steps(array), merged)
    np.testing.assert_array_equal(merged, array)


def test_a_first_layer_on_bytes_is_the_first_layer(photo: np.ndarray) -> None:
    g_a = Networks(ModelConfig()).g_a
    pixels = torch.from_numpy(photo[:64, :96].copy())
    with torch.no_grad():
        wanted = g_a.stem(F.pixel_unshuffle(pixels.permute(2, 0, 1)[None] / 255 - 0.5, 8))
        torch.testing.assert_close(ByteStem(g_a.stem)(pixels), wanted, atol=1e-5, rtol=1e-5)
        near = ByteStem(g_a.stem)(pixels, torch.bfloat16)
    assert (near - wanted).abs().max() < 0.02 * wanted.abs().max()


def test_layers_see_the_backends_arrays_as_channels_last(cotam: codec.Codec) -> None:
    """With another order of batch and channels, every layer would copy its data twice."""
    given = cotam.backend.inner._in(np.zeros((8, 6, 192), np.float32))  # type: ignore[attr-defined]
    with torch.inference_mode():
        layer = cotam.backend.networks.g_s.blocks8[0].depthwise  # type: ignore[attr-defined]
        assert layer(given).is_contiguous(memory_format=torch.channels_last)
        assert given.stride() == layer(given).stride()


def test_the_block_transform_is_orthonormal() -> None:
    basis, variance = first_stage()
    for matrix in (dct_matrix(), basis, second_stage(variance)[0]):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(len(matrix)), atol=1e-5, rtol=0)


def test_an_untrained_codec_reconstructs(photo: np.ndarray) -> None:
    networks = Networks(ModelConfig())
    start_as_block_transform(networks)
    pixels = photo[:256, :384]
    x = torch.from_numpy(np.array(pixels)).permute(2, 0, 1)[None].float() / 255
    qp = torch.full((1, 1, 1), 40)
    with torch.no_grad():
        out = networks.g_s(torch.round(networks.g_a(x, qp)), qp)
    shown = (out[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    assert psnr(shown, pixels) > 33


def test_gains_of_a_field_equal_gains_of_its_parts() -> None:
    gain = Gain(6, slope=0.7)
    torch.nn.init.normal_(gain.log_gain)
    x = torch.randn(1, 6, 2, 2)
    field = torch.tensor([[[0, 17], [40, 63]]])
    mixed = gain(x, field)
    for i in range(2):
        for j in range(2):
            alone = gain(x, field[:, i : i + 1, j : j + 1])
            torch.testing.assert_close(mixed[:, :, i, j], alone[:, :, i, j])
