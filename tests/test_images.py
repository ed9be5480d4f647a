"""Reading of common kinds of pictures."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

import codec
from codec.errors import BadArgument, BadPicture, Corrupt, TooLarge
from codec.io import images
from tests.conftest import psnr

LIMIT = 1 << 28


def as_bytes(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    "mode",
    [
        "1",
        "L",
        "LA",
        "P",
        "PA",
        "RGB",
        "RGBA",
        "RGBa",
        "CMYK",
        "YCbCr",
        "HSV",
        "LAB",
        "I",
        "F",
        "I;16",
    ],
)
def test_every_mode_encodes_and_comes_back(
    cotam: codec.Codec, small: NDArray[np.uint8], mode: str
) -> None:
    image = Image.fromarray(small)
    if mode in ("I", "I;16"):
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257).convert(
            mode
        )
    elif mode == "PA":
        image = image.convert("P").convert("PA")
    elif mode in ("RGBa", "LAB"):
        image = (
            image.convert("RGBA").convert("RGBa")
            if mode == "RGBa"
            else ImageCms.profileToProfile(
                image,
                ImageCms.createProfile("sRGB"),
                ImageCms.createProfile("LAB"),
                outputMode="LAB",
            )
        )
    else:
        image = image.convert(mode)
    picture = images.from_pil(image, LIMIT)
    back = cotam.decode(cotam.encode(image, tool="learned", quality=80))
    assert back.size == image.size
    assert picture.pixels.shape == (96, 130, 3)
    dithered = {"1": 6, "P": 18, "PA": 18}
    assert psnr(np.asarray(back.convert("RGB")), picture.pixels) > dithered.get(mode, 27)


def test_orientation_is_applied(small: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[images.ORIENTATION] = 6
    exif[0x010F] = "maker"
    picture = images.load(as_bytes(Image.fromarray(small), exif=exif), LIMIT)
    np.testing.assert_array_equal(picture.pixels, np.rot90(small, -1))
    kept = Image.Exif()
    kept.load(picture.exif)
    assert dict(kept) == {0x010F: "maker"}


def test_alpha_is_lossless_and_metadata_returns(
    cotam: codec.Codec, small: NDArray[np.uint8], tmp_path: Path
) -> None:
    alpha = np.random.default_rng(0).integers(0, 256, small.shape[:2]).astype(np.uint8)
    image = Image.fromarray(np.dstack([small, alpha]))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010F] = "maker"
    data = as_bytes(image, icc_profile=profile, exif=exif)
    back = cotam.decode(cotam.encode(data, tool="learned"))
    np.testing.assert_array_equal(np.asarray(back)[:, :, 3], alpha)
    assert back.info["icc_profile"] == profile
    with (tmp_path / "out.png").open("wb") as stream:
        images.save(back, stream, ".png")
    again = Image.open(tmp_path / "out.png")
    assert again.getexif()[0x010F] == "maker"
    assert again.info["icc_profile"] == profile
    stripped = codec.inspect(cotam.encode(data, tool="learned", strip=True))
    assert set(stripped.sections) - {"qp map"} == {"latents", "alpha"}


def test_palette_with_transparency_keeps_alpha() -> None:
    image = Image.new("P", (20, 10), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    image.paste(0, (0, 0, 5, 5))
    picture = images.load(as_bytes(image, transparency=0), LIMIT)
    assert picture.alpha is not None
    assert picture.alpha[0, 0] == 0
    assert picture.alpha[9, 19] == 255
    assert picture.pixels[9, 19].tolist() == [200, 100, 50]


def test_grey_comes_back_grey(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    grey = Image.fromarray(small).convert("L")
    assert cotam.decode(cotam.encode(grey, tool="learned")).mode == "L"
    half = grey.convert("LA")
    half.putpixel((0, 0), (9, 128))
    assert cotam.decode(cotam.encode(half, tool="learned")).mode == "LA"
    assert cotam.decode(cotam.encode(np.asarray(grey), tool="learned")).mode == "L"


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_converted_and_said_so(kind: str) -> None:
    values = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, 0)
    picture = images.load(as_bytes(Image.fromarray(values), kind), LIMIT)
    np.testing.assert_array_equal(picture.pixels[0, :, 0], np.rint(values[0] / 257))
    assert any("16-bit" in note for note in picture.notes)


def test_animation_keeps_the_first_frame_and_says_so(small: NDArray[np.uint8]) -> None:
    frames = [Image.fromarray(small), Image.fromarray(small[::-1])]
    picture = images.load(
        as_bytes(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True), LIMIT
    )
    np.testing.assert_array_equal(picture.pixels, small)
    assert any("first of 2 frames" in note for note in picture.notes)


def test_a_profile_of_another_colour_space_is_dropped_and_said_so(small: NDArray[np.uint8]) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture = images.load(as_bytes(Image.fromarray(small), icc_profile=lab), LIMIT)
    assert picture.icc is None
    assert any("profile" in note for note in picture.notes)


def test_bad_input_is_a_typed_error(small: NDArray[np.uint8]) -> None:
    whole = as_bytes(Image.fromarray(small))
    with pytest.raises(BadPicture):
        images.load(b"not a picture", LIMIT)
    with pytest.raises(BadPicture):
        images.load(whole[: len(whole) // 2], LIMIT)
    with pytest.raises(TooLarge):
        images.load(whole, 1000)
    with pytest.raises(Corrupt):
        images.unpack_alpha(whole, 130, 96)
    with pytest.raises(Corrupt):
        images.unpack_alpha(images.pack_alpha(small[:, :, 0]), 130, 97)
    with pytest.raises(Corrupt):
        images.unpack_alpha(b"junk", 1, 1)


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((3, 4, 4), np.int64),
        np.full((3, 4, 4), 1.5),
        np.full((3, 4, 4), np.nan),
        np.zeros((4, 4, 3), np.float32),
    ],
)
def test_bad_arrays(bad: NDArray[np.generic]) -> None:
    with pytest.raises(BadArgument):
        images.from_array(bad)


def test_our_limit_counts_not_pillows(
    monkeypatch: pytest.MonkeyPatch, photo: NDArray[np.uint8], tmp_path: Path
) -> None:
    """Pillow refuses more than 2 * MAX_IMAGE_PIXELS, but `--limit-pixels` can allow more."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for suffix in (".png", ".jpg", ".tif", ".webp", ".avif", ".gif"):
        stream = io.BytesIO()
        with Image.fromarray(photo) as image:
            images.save(image, stream, suffix)
        (tmp_path / f"cat{suffix}").write_bytes(stream.getvalue())
        for source in (stream.getvalue(), tmp_path / f"cat{suffix}", io.BytesIO(stream.getvalue())):
            assert images.load(source, photo[..., 0].size).pixels.shape == photo.shape
        for short in (1, 2):
            with pytest.raises(TooLarge, match="limit_pixels"):
                images.load(stream.getvalue(), photo[..., 0].size - short)
    assert Image.MAX_IMAGE_PIXELS == 1000
    alpha = photo[..., 0]
    np.testing.assert_array_equal(
        images.unpack_alpha(images.pack_alpha(alpha), alpha.shape[1], alpha.shape[0]), alpha
    )
