"""Latents in two layers: the preview's channels come first and decode independently."""

from __future__ import annotations

from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.api import Codec
from codec.backends.torch import TorchBackend
from codec.bitstream import container
from codec.errors import BadArgument, CodecError
from codec.io import images
from codec.networks.block_transform import start_as_block_transform
from codec.networks.config import ModelConfig
from codec.networks.integer import integer_layers
from codec.networks.model import Networks
from tests.conftest import psnr, run_cotam
from tests.test_training import CONF
from training.fit.checkpoint import make_checkpoint


@pytest.fixture(scope="module")
def layered(tmp_path_factory: pytest.TempPathFactory, photo: NDArray[np.uint8]) -> Codec:
    """The block transform with an untrained prior, whose sets depend on the previous ones."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(3):
        Image.fromarray(np.roll(photo, 60 * number, 1)).save(folder / f"{number}.png")
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", ["experiment=toy"])
    torch.manual_seed(0)
    networks = Networks(hydra.utils.instantiate(config.model)).eval()
    start_as_block_transform(networks)
    for layer in integer_layers(networks).values():
        torch.nn.init.normal_(layer.weight, std=0.05)
    torch.nn.init.normal_(networks.h_a.head.weight, std=2.0)
    return Codec(TorchBackend(make_checkpoint(networks, "layered", folder, 3), "cpu"))


def box(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image.reduce(8))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1, 1), (9, 17), (64, 48), (200, 123), (451, 300)])
def test_both_layers_come_back_and_the_preview_is_the_small_picture(
    layered: Codec, photo: NDArray[np.uint8], size: tuple[int, int]
) -> None:
    picture = Image.fromarray(photo).resize(size)
    encoded = layered.encode_full(
        picture, tool="learned", quality=60, guide="uniform", want_bits=True
    )
    decoded = layered.decode_full(encoded.data, want_bits=True)
    np.testing.assert_array_equal(decoded.y_hat, encoded.y_hat)
    np.testing.assert_array_equal(layered.decode(encoded.data, level="latents"), encoded.y_hat)
    assert decoded.bits is not None
    assert encoded.bits is not None
    np.testing.assert_array_equal(decoded.bits, encoded.bits)
    assert abs(decoded.bits.sum() / 8 / len(encoded.data) - 1) < 0.1 or max(size) < 64
    preview = layered.decode(encoded.data, level="preview")
    assert preview.size == (-(-size[0] // 8), -(-size[1] // 8))
    if min(size) > 100:
        assert psnr(np.asarray(preview), box(decoded.to("pil"))) > 30


def test_a_preview_asks_for_the_first_layer_only(layered: Codec, photo: NDArray[np.uint8]) -> None:
    """It does not read or compute the second layer: replacing that layer changes nothing."""
    first, second = (
        container.read(layered.encode(p, tool="learned", quality=60, guide="uniform"))
        for p in (photo, photo[::-1].copy())
    )
    length = container.Reader(first.latents)
    low = length.take(length.varint())
    other = container.Reader(second.latents)
    other.take(other.varint())
    mixed = container.put_varint(len(low)) + low + second.latents[other.at :]
    data = container.write(
        container.Container(first.width, first.height, first.qp, first.fingerprint, mixed)
    )
    seen = layered.decode(data, output="array", level="preview")
    np.testing.assert_array_equal(
        seen, layered.decode(container.write(first), output="array", level="preview")
    )
    stages = layered.decode_preview(data).seconds
    assert "synthesis" not in stages
    assert "preview" in stages


def test_alpha_and_grey_are_kept_at_the_previews_size(
    layered: Codec, photo: NDArray[np.uint8]
) -> None:
    image = Image.fromarray(photo[:100, :150]).convert("LA")
    image.putalpha(Image.linear_gradient("L").resize((150, 100)))
    preview = layered.decode(
        layered.encode(image, tool="learned", quality=60, guide="uniform"), level="preview"
    )
    assert preview.mode == "LA"
    assert preview.size == (19, 13)
    np.testing.assert_array_equal(
        np.asarray(preview)[..., 1], np.asarray(image.getchannel("A").reduce(8))
    )


def test_weights_without_a_preview_layer_reduce_the_full_picture(
    cotam: Codec, small: NDArray[np.uint8]
) -> None:
    if len(cotam.learned.pipeline.layers) > 1:
        networks = cotam.backend.checkpoint
        pytest.skip(f"{networks.name} has a preview layer")
    data = cotam.encode(small, tool="learned", quality=50)
    full = cotam.decode_full(data).picture
    np.testing.assert_array_equal(
        cotam.decode(data, output="array", level="preview"), images.reduced(full, 8).pixels
    )


def test_damaged_layers_are_refused(layered: Codec, small: NDArray[np.uint8]) -> None:
    whole = container.read(layered.encode(small, tool="learned", quality=60, guide="uniform"))
    for latents in (
        b"",
        b"\xff\xff\xff",
        b"\x02\x00",
        b"\x81\x00\x00",
        b"\x80\x80\x80\x80\x80\x01",
        b"\x03abc",
    ):
        data = container.write(
            container.Container(whole.width, whole.height, whole.qp, whole.fingerprint, latents)
        )
        for level in ("pixels", "preview", "latents"):
            with pytest.raises(CodecError):
                layered.decode(data, level=level)  # type: ignore[arg-type]
    with pytest.raises(BadArgument):
        layered.decode(container.write(whole), level="thumbnail")  # type: ignore[arg-type]


def test_a_layer_must_fit() -> None:
    for low in (-4, 3, 192):
        with pytest.raises(ValueError, match="low must"):
            ModelConfig(low=low)
    assert [(layer.start, layer.stop) for layer in ModelConfig(low=16).layers] == [
        (0, 16),
        (16, 192),
    ]
    assert codec.load().backend.checkpoint.layers[-1].stop == 192


@pytest.mark.slow
def test_the_command_writes_a_preview(tmp_path: Path, photo: NDArray[np.uint8]) -> None:
    Image.fromarray(photo).save(tmp_path / "cat.png")
    assert run_cotam("encode", tmp_path / "cat.png").returncode == 0
    done = run_cotam(
        "decode", "--level", "preview", tmp_path / "cat.ctm", "-o", tmp_path / "small.png"
    )
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "small.png") as small:
        assert small.size == (57, 38)
        assert psnr(np.asarray(small), box(Image.fromarray(photo))) > 25
    wrong = run_cotam("decode", "--level", "thumb", tmp_path / "cat.ctm")
    assert wrong.returncode == 2
    assert b"preview" in wrong.stderr
