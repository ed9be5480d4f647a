"""The Python API on real pictures with the shipped weights."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.bitstream import container
from codec.coding.latent_grid import latent_grid
from codec.errors import BadArgument
from codec.weights import checkpoint
from tests.conftest import ROOT, psnr, run_cotam

SIZES = [(1, 1), (1, 37), (40, 1), (15, 17), (16, 16), (17, 16), (63, 65), (64, 64), (100, 300)]


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("quality", [0, 55, 100])
def test_any_size_comes_back(
    cotam: codec.Codec, photo: NDArray[np.uint8], height: int, width: int, quality: int
) -> None:
    pixels = photo[50 : 50 + height, 100 : 100 + width]
    encoded = cotam.encode_full(pixels, tool="learned", quality=quality)
    decoded = cotam.decode_full(encoded.data)
    assert decoded.picture.pixels.shape == pixels.shape
    np.testing.assert_array_equal(decoded.y_hat, encoded.y_hat)
    assert encoded.y_hat.shape[:2] == latent_grid(height, width)
    assert psnr(decoded.picture.pixels, pixels) > (28 if quality == 100 else 14)


@pytest.mark.slow
def test_an_odd_large_size(cotam: codec.Codec, photo: NDArray[np.uint8]) -> None:
    pixels = np.asarray(Image.fromarray(photo).resize((769, 511)))
    encoded = cotam.encode_full(pixels, tool="learned", quality=60)
    decoded = cotam.decode_full(encoded.data)
    np.testing.assert_array_equal(decoded.y_hat, encoded.y_hat)
    assert psnr(decoded.picture.pixels, pixels) > 30


def test_quality_is_monotone(cotam: codec.Codec, photo: NDArray[np.uint8]) -> None:
    coded = [cotam.encode(photo, tool="learned", quality=q) for q in (0, 25, 50, 75, 100)]
    scores = [psnr(np.asarray(cotam.decode(data)), photo) for data in coded]
    assert [len(d) for d in coded] == sorted(len(d) for d in coded)
    assert scores == sorted(scores)


def test_file_size_is_what_the_model_promised(cotam: codec.Codec, photo: NDArray[np.uint8]) -> None:
    for quality in (10, 50, 90):
        encoded = cotam.encode_full(photo, tool="learned", quality=quality, want_bits=True)
        assert encoded.bits is not None
        assert encoded.bits.shape == latent_grid(*photo.shape[:2])
        assert len(encoded.data) * 8 <= encoded.bits.sum() * 1.015 + 20 * 8 + 64
        decoded = cotam.decode_full(encoded.data, want_bits=True)
        assert decoded.bits is not None
        np.testing.assert_array_equal(encoded.bits, decoded.bits)


def test_rounding_weighs_rate_against_error(
    cotam: codec.Codec, photo: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    weighed = cotam.encode_full(photo, tool="learned", quality=40)
    monkeypatch.setattr(cotam.learned.pipeline, "rate_weight", 0.0)
    plain = cotam.encode_full(photo, tool="learned", quality=40)
    assert len(weighed.data) < 0.97 * len(plain.data)
    np.testing.assert_array_equal(cotam.decode_full(weighed.data).y_hat, weighed.y_hat)


def test_kinds_of_input_agree(cotam: codec.Codec, small: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "p.png"
    Image.fromarray(small).save(path)
    tensor = torch.from_numpy(np.array(small)).permute(2, 0, 1).float() / 255
    coded = {
        cotam.encode(v, tool="learned")
        for v in (small, path, str(path), path.read_bytes(), Image.fromarray(small), tensor)
    }
    assert len(coded) == 1
    data = coded.pop()
    array, tensor_out = cotam.decode(data, output="array"), cotam.decode(data, output="tensor")
    np.testing.assert_array_equal(np.asarray(cotam.decode(data)), array)
    assert tensor_out.shape == (3, *small.shape[:2])
    np.testing.assert_array_equal((tensor_out * 255).round().byte().permute(1, 2, 0).numpy(), array)
    with pytest.raises(codec.BadArgument):
        cotam.decode(data, output="jpeg")  # type: ignore[arg-type]


def test_target_size(cotam: codec.Codec, photo: NDArray[np.uint8]) -> None:
    data = cotam.encode(photo, tool="learned", target_bytes=6000)
    qp = codec.inspect(data).base_qp
    assert len(data) <= 6000
    assert len(cotam.encode(photo, tool="learned", quality=(qp + 1) * 100 / 63, slope=0)) > 6000
    with pytest.raises(codec.TargetTooSmall):
        cotam.encode(photo, tool="learned", target_bytes=30)


def test_qp_map_steers_bits_and_quality(cotam: codec.Codec, photo: NDArray[np.uint8]) -> None:
    left_fine = np.array([[45, 15]])
    encoded = cotam.encode_full(photo, qp_map=left_fine, want_bits=True)
    decoded = cotam.decode_full(encoded.data)
    np.testing.assert_array_equal(decoded.y_hat, encoded.y_hat)
    middle = photo.shape[1] // 2
    out = decoded.picture.pixels
    assert psnr(out[:, :middle], photo[:, :middle]) > psnr(out[:, middle:], photo[:, middle:]) + 2
    assert encoded.bits is not None
    assert encoded.bits[:, :14].sum() > 2 * encoded.bits[:, 15:].sum()
    assert codec.inspect(encoded.data).map_grid == (1, 2)
    assert codec.inspect(encoded.data).sections["qp map"] < 20


def test_a_random_full_resolution_map(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    qp_map = np.random.default_rng(0).integers(0, 64, latent_grid(*small.shape[:2]))
    encoded = cotam.encode_full(small, qp_map=qp_map)
    np.testing.assert_array_equal(cotam.decode_full(encoded.data).y_hat, encoded.y_hat)


def test_a_uniform_map_is_the_same_file_as_its_quality(
    cotam: codec.Codec, small: NDArray[np.uint8]
) -> None:
    same = cotam.encode(small, tool="learned", quality=20 * 100 / 63, guide="uniform", slope=0)
    assert cotam.encode(small, qp_map=np.full((3, 3), 20)) == same


def test_contradictory_options(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    for options in (
        {"quality": 5, "target_bytes": 9},
        {"quality": 5, "qp_map": np.zeros((1, 1))},
        {"quality": 101},
    ):
        with pytest.raises(codec.BadArgument):
            cotam.encode(small, **options)


def test_limits(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    strict = codec.Codec(cotam.backend, limit_pixels=1000)
    with pytest.raises(codec.TooLarge):
        strict.encode(small)
    with pytest.raises(codec.TooLarge):
        strict.decode(cotam.encode(small, tool="learned"))


def test_another_model_is_refused_by_name(
    cotam: codec.Codec, small: NDArray[np.uint8], tmp_path: Path
) -> None:
    loaded = checkpoint.load()
    arrays = dict(loaded.arrays)
    arrays["prior.hyper.qp_table"] = arrays["prior.hyper.qp_table"] + 1
    other = checkpoint.Checkpoint(arrays, loaded.metadata | {"name": "other"})
    checkpoint.save(other, tmp_path / "other.safetensors")
    second = codec.load(tmp_path / "other.safetensors")
    with pytest.raises(codec.WrongModel, match=checkpoint.DEFAULT):
        second.decode(cotam.encode(small, tool="learned"))


@pytest.mark.slow
def test_a_file_names_its_weights(small: NDArray[np.uint8], tmp_path: Path) -> None:
    """Decoding needs no argument for the weights."""
    for name in checkpoint.names():
        data = codec.load(name, "cpu").encode(small, tool="learned")
        assert codec.weights_of(data) == name
        (tmp_path / f"{name}.ctm").write_bytes(data)
    done = run_cotam("decode", tmp_path, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == len(checkpoint.names())
    foreign = container.write(replace(container.read(data, 10**6), fingerprint=b"abcd"))
    with pytest.raises(codec.WrongModel, match="61626364"):
        codec.weights_of(foreign)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    whole = checkpoint.find("default").read_bytes()
    at = int.from_bytes(whole[:8], "little") + 8 + len(whole) * 9 // 10
    (tmp_path / "flipped.safetensors").write_bytes(
        whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
    )
    (tmp_path / "short.safetensors").write_bytes(whole[:10000])
    (tmp_path / "text.safetensors").write_bytes(b"hello")
    for name in ("short", "text"):
        with pytest.raises(codec.UnknownModel):
            codec.load(tmp_path / f"{name}.safetensors")
    with pytest.raises(codec.UnknownModel, match=f"there are: .*{checkpoint.DEFAULT}"):
        codec.load("no-such-model")


def test_hostile_latents_with_a_good_checksum(cotam: codec.Codec) -> None:
    """Any content of the entropy-coded part decodes to a picture or raises a typed error."""
    random = np.random.default_rng(1)
    fingerprint = cotam.backend.checkpoint.fingerprint
    for size in (0, 4, 8, 40, 400, 4000):
        latents = random.integers(0, 256, size).astype(np.uint8).tobytes()
        for qp_map in (None, b"", random.integers(0, 256, 12).astype(np.uint8).tobytes()):
            data = container.write(container.Container(100, 70, 30, fingerprint, latents, qp_map))
            try:
                assert cotam.decode(data, output="array").shape == (70, 100, 3)
            except codec.CodecError:
                continue


def test_mutated_files_with_repaired_checksums(
    cotam: codec.Codec, small: NDArray[np.uint8]
) -> None:
    good = container.read(cotam.encode(small, qp_map=np.array([[20, 30]])))
    random = np.random.default_rng(2)
    for _ in range(40):
        latents = bytearray(good.latents)
        latents[random.integers(len(latents))] ^= 1 << int(random.integers(8))
        data = container.write(
            container.Container(130, 96, good.qp, good.fingerprint, bytes(latents), good.qp_map)
        )
        try:
            assert cotam.decode(data, output="array").shape == (96, 130, 3)
        except codec.CodecError:
            continue


@pytest.mark.slow
def test_many_threads_one_codec(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    expected = [cotam.encode(small, tool="learned", quality=q) for q in range(0, 100, 10)]
    with ThreadPoolExecutor(4) as pool:
        assert (
            list(
                pool.map(
                    lambda q: cotam.encode(small, tool="learned", quality=q), range(0, 100, 10)
                )
            )
            == expected
        )


def test_inspect_and_import_need_no_torch(
    cotam: codec.Codec, small: NDArray[np.uint8], tmp_path: Path
) -> None:
    (tmp_path / "a.ctm").write_bytes(cotam.encode(small, tool="learned", quality=40))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import codec; info = codec.inspect(open('a.ctm', 'rb').read()); "
        "print(info.width, info.height, info.base_qp, info.model)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["130", "96", "25", checkpoint.DEFAULT]


def test_files_are_bytes_and_nothing_else(cotam: codec.Codec) -> None:
    for wrong in ("photo.ctm", Path("photo.ctm"), 7, None):
        with pytest.raises(BadArgument, match="read the file"):
            codec.decode(wrong)  # type: ignore[arg-type]
        with pytest.raises(BadArgument):
            cotam.decode(wrong)  # type: ignore[arg-type]
    with pytest.raises(BadArgument, match="no file"):
        cotam.decode_tokens([], "timm:deit_tiny_patch16_224", weights="random", adapter="none")


def test_without_torch_it_is_said(tmp_path: Path) -> None:
    program = """
import sys
sys.modules["torch"] = None
import codec
import numpy as np
white = np.full((20, 30, 3), 255, np.uint8)
assert codec.load().encode(white)
assert codec.load().encode(white, tool="learned")
for wrong in ({"tune": "clip"}, {"guide": "clip"}):
    try:
        codec.load().encode(white, tool="learned", **wrong)
    except codec.CodecError as error:
        print(error)
try:
    codec.load(backend="torch").encode(white, tool="learned")
except codec.CodecError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr
    assert all("PyTorch" in line or "cotam[clip]" in line for line in lines)


def test_coding_imports_no_compiler() -> None:
    """torch._dynamo takes 150 MB and coding does not need it."""
    program = (
        "import sys, numpy as np, codec;"
        "cotam = codec.load();"
        "file = cotam.encode(np.zeros((64, 80, 3), np.uint8), tool='learned');"
        "cotam.decode(file, output='array');"
        "print([m for m in ('torch._dynamo', 'sympy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
