"""Exported encoders and decoders give the same bytes and latents without PyTorch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.api import Codec
from codec.errors import BadArgument, CodecError, GuideUnavailable, UnknownModel
from codec.quality import quality_to_qp
from codec.weights.checkpoint import Checkpoint, save
from tests.conftest import ROOT, psnr, run_cotam

pytestmark = pytest.mark.slow


def crossing(
    torch_codec: Codec,
    encoder: Codec,
    decoder: Codec,
    picture: NDArray[np.uint8],
    **options: object,
) -> None:
    """Encode and decode in all combinations: equal y_hat, and nearly all pixels within 1/255."""
    for one in (torch_codec, encoder):
        encoded = one.encode_full(picture, tool="learned", **options)
        by_torch, by_onnx = (other.decode_full(encoded.data) for other in (torch_codec, decoder))
        np.testing.assert_array_equal(by_onnx.y_hat, encoded.y_hat)
        np.testing.assert_array_equal(by_onnx.y_hat, by_torch.y_hat)
        apart = np.abs(by_onnx.picture.pixels.astype(int) - by_torch.picture.pixels)
        assert (apart <= 1).mean() >= 0.999
        previews = [
            other.decode(encoded.data, output="array", level="preview").astype(int)
            for other in (torch_codec, decoder)
        ]
        assert np.abs(previews[0] - previews[1]).max() <= 1


def test_streams_cross_over(cotam: Codec, halves: Path, photo: NDArray[np.uint8]) -> None:
    encoder, decoder = codec.load(halves / "encoder"), codec.load(halves / "decoder")
    assert encoder.fingerprint == decoder.fingerprint == cotam.fingerprint
    assert (halves / "decoder" / "preview.onnx").is_file()
    for picture in (photo, photo[:1, :1], photo[:17, :260], photo[30:95, 60:124]):
        crossing(cotam, encoder, decoder, picture, quality=45)
    crossing(cotam, encoder, decoder, photo, quality=70, guide="uniform")
    crossing(cotam, encoder, decoder, photo, qp_map=np.array([[2, 60, 31], [44, 12, 63]]))
    rate = quality_to_qp(50)
    assert (
        abs(
            len(encoder.encode(photo, tool="learned", quality=50))
            / len(cotam.encode(photo, tool="learned", quality=50))
            - 1
        )
        < 0.01
    ), rate


def test_neither_half_needs_torch(halves: Path, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    Image.fromarray(photo).save(tmp_path / "cat.png")
    program = f"""
import sys
BLOCKED = "torch torchvision compressai timm open_clip onnx onnxscript".split()
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import codec
data = codec.load({str(halves / "encoder")!r}).encode({str(tmp_path / "cat.png")!r}, quality=40)
decoder = codec.load({str(halves / "decoder")!r})
assert decoder.decode(data).size == (451, 300)
assert decoder.decode(data, level="preview").size == (57, 38)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_half_says_what_it_cannot_do(halves: Path, small: NDArray[np.uint8]) -> None:
    encoder, decoder = codec.load(halves / "encoder"), codec.load(halves / "decoder")
    data = encoder.encode(small, tool="learned", quality=40)
    with pytest.raises(BadArgument, match="other one"):
        encoder.decode(data)
    with pytest.raises(BadArgument, match="other one"):
        decoder.encode(small, tool="learned", guide="uniform")
    with pytest.raises(GuideUnavailable):
        decoder.encode(small, guide="student")
    for device in ("cuda", "gpu"):
        with pytest.raises(BadArgument, match="CPU"):
            codec.load(halves / "encoder", device=device)


def test_a_damaged_half_is_refused(halves: Path, tmp_path: Path) -> None:
    for name, damage in (
        ("analysis.onnx", b"x"),
        ("tables.npz", b"x"),
        ("manifest.json", b"{}"),
        ("step_0_0.onnx", None),
    ):
        folder = tmp_path / name
        shutil.copytree(halves / "encoder", folder)
        if damage is None:
            (folder / name).unlink()
        else:
            (folder / name).write_bytes(damage)
        with pytest.raises(UnknownModel):
            codec.load(folder)
    for number, key in enumerate(("config", "skip_below", "fingerprint", "name", "half")):
        folder = tmp_path / f"without {number}"
        shutil.copytree(halves / "encoder", folder)
        facts = json.loads((folder / "manifest.json").read_text())
        del facts[key]
        (folder / "manifest.json").write_text(json.dumps(facts))
        with pytest.raises(UnknownModel):
            codec.load(folder)
    with pytest.raises(CodecError):
        codec.load(tmp_path)


def test_int8_transforms(cotam: Codec, photo: NDArray[np.uint8], tmp_path: Path) -> None:
    """Files are exchangeable with those of float32 transforms; pixels are close."""
    for number in range(2):
        Image.fromarray(photo[:, 60 * number : 60 * number + 320]).save(tmp_path / f"{number}.png")
    done = run_cotam("export", "--out", tmp_path / "dist", "--int8", tmp_path)
    assert done.returncode == 0, done.stderr
    encoder, decoder = (
        codec.load(tmp_path / "dist" / "encoder"),
        codec.load(tmp_path / "dist" / "decoder"),
    )
    assert encoder.backend.checkpoint.facts["transforms"] == "int8"  # type: ignore[attr-defined]
    for quality in (30, 70):
        encoded = encoder.encode_full(photo, tool="learned", quality=quality, guide="uniform")
        by_torch, by_int8 = (other.decode_full(encoded.data) for other in (cotam, decoder))
        np.testing.assert_array_equal(by_int8.y_hat, encoded.y_hat)
        np.testing.assert_array_equal(by_int8.y_hat, by_torch.y_hat)
        assert psnr(photo, by_int8.picture.pixels) > psnr(photo, by_torch.picture.pixels) - 0.5
        plain = cotam.encode(photo, tool="learned", quality=quality, guide="uniform")
        assert abs(len(encoded.data) / len(plain) - 1) < 0.03
        assert (
            psnr(photo, by_torch.picture.pixels)
            > psnr(photo, cotam.decode(plain, output="array")) - 0.3
        )


def test_int8_needs_pictures(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = run_cotam("export", "--out", tmp_path / "dist", "--int8", tmp_path / "empty")
    assert done.returncode == 1
    assert b"need pictures" in done.stderr


def test_an_exported_encoder_rounds_as_its_weights_say(
    cotam: Codec, halves: Path, tmp_path: Path
) -> None:
    assert (
        codec.load(halves / "encoder").learned.pipeline.rate_weight
        == cotam.learned.pipeline.rate_weight
        > 0
    )
    found = cotam.backend.checkpoint
    other = Checkpoint(found.arrays, found.metadata | {"rate_weight": 0.01})  # type: ignore[attr-defined]
    save(other, tmp_path / "other.safetensors")
    assert codec.load(tmp_path / "other.safetensors", "cpu").learned.pipeline.rate_weight == 0.01
    assert other.fingerprint == found.fingerprint  # decoders do not use rate_weight
