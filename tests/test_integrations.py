"""`.ctm` in Pillow, torchvision and WebDataset."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageCms

import codec
import codec.integrations.pillow as ctm_in_pillow
from codec.errors import BadArgument, CodecError
from codec.integrations.torchvision import decode_ctm
from codec.integrations.webdataset import ctm
from tests.conftest import ROOT, psnr


@pytest.fixture
def file(cotam: codec.Codec, small: NDArray[np.uint8], tmp_path: Path) -> Path:
    path = tmp_path / "small.ctm"
    path.write_bytes(cotam.encode(small, tool="learned", quality=70))
    return path


def test_pillow_opens_lazily_and_decodes_when_asked(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    decode, wanted = codec.decode, codec.decode(file.read_bytes(), output="array")
    monkeypatch.setattr(
        ctm_in_pillow.codec, "decode", lambda *given: calls.append(1) or decode(*given)
    )
    with Image.open(file) as image:
        assert (image.size, image.mode, image.format) == ((130, 96), "RGB", "CTM")
        assert not calls
        np.testing.assert_array_equal(np.asarray(image), wanted)
        assert image.getpixel((3, 3)) == image.copy().getpixel((3, 3))
        assert image.resize((10, 10)).size == (10, 10)
    assert len(calls) == 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA"])
def test_pillow_saves_what_it_opens(mode: str, small: NDArray[np.uint8], tmp_path: Path) -> None:
    image = Image.fromarray(small).convert(mode)
    if mode.endswith("A"):
        image.putalpha(Image.new("L", image.size, 200))
    exif = Image.Exif()
    exif[0x010E] = "a cat"
    sizes = []
    for quality in (20, 80):
        image.save(tmp_path / "x.ctm", quality=quality, exif=exif.tobytes(), guide="uniform")
        sizes.append((tmp_path / "x.ctm").stat().st_size)
        with Image.open(tmp_path / "x.ctm") as back:
            assert (back.mode, back.size) == (mode, image.size)
            assert back.getexif()[0x010E] == "a cat"
            assert psnr(np.asarray(back.convert("RGB")), np.asarray(image.convert("RGB"))) > 24
    assert sizes[0] < sizes[1]
    image.save(tmp_path / "x.ctm")
    stream = io.BytesIO()
    image.save(stream, "CTM", target_bytes=3000)
    assert len(stream.getvalue()) <= 3000


CHANGES: dict[str, Callable[[Image.Image], object]] = {
    "a pixel": lambda image: image.putpixel((3, 3), (1, 2, 3)),
    "exif": lambda image: image.getexif().__setitem__(0x010E, "a dog"),
    "info": lambda image: image.info.pop("exif"),
}


def saved(image: Image.Image, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "CTM", **options)
    return stream.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("alpha", [False, True])
def test_pillow_saves_an_unchanged_file_as_it_is(
    alpha: bool, small: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Coding it again would lose quality, and `datasets`, for example, saves pictures it opened."""
    image = Image.fromarray(small)
    if alpha:
        image.putalpha(Image.new("L", image.size, 200))
    exif = Image.Exif()
    exif[0x010E] = "a cat"
    data = saved(image, quality=20, exif=exif.tobytes(), model="tiny")
    (tmp_path / "a.ctm").write_bytes(data)
    for source in (tmp_path / "a.ctm", io.BytesIO(data)):
        assert saved(Image.open(source)) == data
        opened = Image.open(source)
        opened.load()
        assert opened.getexif()[0x010E] == "a cat"
        assert saved(opened) == data
    opened.save(tmp_path / "b.ctm", optimize=True)
    assert (tmp_path / "b.ctm").read_bytes() == data
    opened.save(tmp_path / "a.ctm")
    assert (tmp_path / "a.ctm").read_bytes() == data
    assert saved(opened, quality=5) != data
    assert saved(opened.copy()) != data
    for name, change in CHANGES.items():
        changed = Image.open(io.BytesIO(data))
        change(changed)
        assert saved(changed) != data, name


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_pillow_reads_files_larger_than_their_pixels(mode: str, tmp_path: Path) -> None:
    """Pillow may map raw pixels from a file that is large enough; it must not do so for .ctm."""
    image = Image.new(mode, (4, 5), "white")
    image.save(
        tmp_path / "x.ctm",
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )
    with Image.open(tmp_path / "x.ctm") as back:
        assert np.asarray(back).min() > 200
        assert "icc_profile" not in image.info


def test_pillow_takes_other_formats_options(small: NDArray[np.uint8], tmp_path: Path) -> None:
    image = Image.fromarray(small)
    exif = Image.Exif()
    exif[0x010E] = "a cat"
    image.save(
        tmp_path / "x.ctm",
        optimize=True,
        subsampling=0,
        dpi=(72, 72),
        exif=exif,
        icc_profile=None,
        quality=30,
    )
    with Image.open(tmp_path / "x.ctm") as back:
        assert back.getexif()[0x010E] == "a cat"
    with pytest.raises(OSError, match="no weights"):
        image.save(tmp_path / "y.ctm", model="none")


def test_pillow_refuses_what_is_damaged(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = file.read_bytes()
    with pytest.raises(Image.UnidentifiedImageError):
        Image.open(io.BytesIO(data[:7]))
    with pytest.raises(Image.UnidentifiedImageError):
        Image.open(io.BytesIO(b"\xc0TM\x09" + data[4:]))
    with Image.open(io.BytesIO(data[:-5])) as image, pytest.raises(OSError, match="too early"):
        image.load()
    with (
        Image.open(io.BytesIO(data[:-1] + bytes([data[-1] ^ 1]))) as image,
        pytest.raises(OSError, match="checksum"),
    ):
        image.load()
    with pytest.raises(OSError, match="quality"):
        Image.new("RGB", (5, 5)).save(io.BytesIO(), "CTM", quality=1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(Image.DecompressionBombError):
        Image.open(file)


@pytest.mark.slow
def test_opening_needs_no_torch(file: Path) -> None:
    program = f"""
import sys
import codec.integrations.pillow
from PIL import Image, ImageCms
image = Image.open({str(file)!r})
assert image.size == (130, 96) and "torch" not in sys.modules
image.load()
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


@pytest.mark.slow
def test_torchvision_style(file: Path) -> None:
    io_ = pytest.importorskip("torchvision.io")
    wanted = torch.from_numpy(codec.decode(file.read_bytes(), output="array")).permute(2, 0, 1)
    for source in (io_.read_file(str(file)), file.read_bytes(), file, str(file)):
        assert torch.equal(decode_ctm(source), wanted)
    assert decode_ctm(file, "GRAY").shape == (1, 96, 130)
    assert decode_ctm(file, io_.ImageReadMode.RGB_ALPHA).shape == (4, 96, 130)
    assert decode_ctm(file, "unchanged").shape == (3, 96, 130)
    with pytest.raises(BadArgument):
        decode_ctm(file, "CMYK")
    with pytest.raises(BadArgument):
        decode_ctm(torch.zeros(2, 2))
    with pytest.raises(CodecError):
        decode_ctm(b"no picture")


def test_webdataset_decodes_shards(file: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    with tarfile.open(tmp_path / "a.tar", "w") as shard:
        for name, data in (
            ("0.ctm", file.read_bytes()),
            ("0.cls", b"7"),
            ("1.ctm", file.read_bytes()),
            ("1.cls", b"8"),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            shard.addfile(entry, io.BytesIO(data))
    data = (
        webdataset.WebDataset(str(tmp_path / "a.tar"), shardshuffle=False)
        .decode(ctm("tensor"))
        .to_tuple("ctm", "cls")
    )
    found = list(data)
    assert [label for _, label in found] == [7, 8]
    torch.testing.assert_close(found[1][0], codec.decode(file.read_bytes(), output="tensor"))
    with pytest.raises(BadArgument):
        ctm("jpeg")  # type: ignore[arg-type]
