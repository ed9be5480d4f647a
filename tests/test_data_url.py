"""`.ctm` as data URLs for hosted models."""

from __future__ import annotations

import base64
import copy
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.bitstream import container
from codec.errors import BadArgument, CodecError, TargetTooSmall
from codec.integrations.data_url import data_url
from codec.integrations.receivers import RECEIVERS, patches

LOCATION = 0x8825
MAKER_NOTE = 0x927C


@pytest.fixture(scope="module")
def cotam() -> codec.Codec:
    return codec.load("tiny", "cpu")


@pytest.fixture(scope="module")
def file(cotam: codec.Codec, small: NDArray[np.uint8]) -> bytes:
    """A picture with metadata: the camera and the place."""
    exif = Image.Exif()
    exif[LOCATION] = {1: "N", 2: (47.0, 1.0, 2.0)}
    exif[0x8769] = {MAKER_NOTE: b"made by a camera"}
    exif[0x010E] = "a cat"
    image = Image.fromarray(small)
    image.info["exif"] = exif.tobytes()
    return cotam.encode(image, quality=50, tool="learned", keep="all")


def received(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


@pytest.mark.parametrize("name", ["webp", "jpeg", "png", ".jpg", "JPG"])
def test_the_receiver_gets_the_picture_without_metadata(name: str, file: bytes) -> None:
    url = data_url(file, name)  # type: ignore[arg-type]
    kind = {".jpg": "jpeg", "JPG": "jpeg"}.get(name, name)
    assert url.startswith(f"data:image/{kind};base64,")
    with received(url) as image:
        assert image.format == kind.upper()
        assert not image.getexif()
        assert "icc_profile" not in image.info
        difference = np.asarray(image.convert("RGB"), float) - codec.decode(file, output="array")
        assert np.abs(difference).mean() < (0.01 if kind == "png" else 6)
        assert image.size == url.size
    assert url.tokens is None


def test_a_ctm_travels_as_it_is_but_for_its_exif(file: bytes, cotam: codec.Codec) -> None:
    head, _, body = data_url(file, "ctm").partition(",")
    assert head == "data:image/x-cotam;base64"
    sent = base64.b64decode(body)
    assert container.EXTRA_EXIF in container.read(file).extras
    assert not container.read(sent).extras
    np.testing.assert_array_equal(
        codec.decode(sent, output="array"), codec.decode(file, output="array")
    )
    assert data_url(sent, "ctm") == data_url(file, "ctm")
    for options in ({"fit": "claude"}, {"level": "preview"}):
        with pytest.raises(BadArgument, match="unchanged"):
            data_url(file, "ctm", **options)  # type: ignore[arg-type]
    with pytest.raises(TargetTooSmall):
        data_url(file, "ctm", max_bytes=20)


@pytest.mark.parametrize("tool", ["learned", "palette"])
def test_transparency_is_composed_on_white_for_jpeg(tool: str, cotam: codec.Codec) -> None:
    letters = np.zeros((48, 48, 4), np.uint8)
    letters[16:32, 16:32, 3] = 255
    file = cotam.encode(Image.fromarray(letters), tool=tool)
    seen = np.asarray(received(data_url(file, "jpeg")))
    assert seen[:8].min() > 230
    assert seen[20:28, 20:28].max() < 60
    for name in ("png", "webp"):
        image = received(data_url(file, name, fit=(24, 24)))  # type: ignore[arg-type]
        assert image.mode == "RGBA"
        ground = Image.new("RGBA", image.size, "white")
        flat = np.asarray(Image.alpha_composite(ground, image).convert("RGB"))
        assert flat[:4].min() > 230
        assert flat[11:13, 11:13].max() < 60


@pytest.mark.parametrize("name", ["webp", "jpeg", "png"])
@pytest.mark.parametrize("limit", [20_000, 6_000, 1_200])
def test_a_limit_of_bytes_is_kept(name: Any, limit: int, file: bytes) -> None:
    url = data_url(file, name, max_bytes=limit)
    assert len(url) <= limit
    with received(url) as image:
        assert image.size == url.size
    if limit == 20_000 and name != "png":
        assert url == data_url(file, name)


def test_a_limit_that_nothing_fits_is_refused(file: bytes) -> None:
    with pytest.raises(TargetTooSmall, match="20 bytes"):
        data_url(file, max_bytes=20)


@pytest.mark.parametrize(
    ("fit", "size", "fitted", "tokens"),
    [
        ("claude", (1000, 1000), (1000, 1000), 1296),
        ("claude", (1920, 1080), (1456, 819), 1560),
        ("claude", (28, 28), (28, 28), 1),
        ("openai", (1024, 1024), (1024, 1024), 1024),
        ("openai", (1800, 2400), (1056, 1408), 1452),
        ("gemini", (384, 384), (384, 384), 258),
        ("gemini", (1536, 800), (1536, 800), 4 * 258),
    ],
)
def test_costs_follow_the_published_rules(
    fit: str, size: tuple[int, int], fitted: tuple[int, int], tokens: int
) -> None:
    receiver = RECEIVERS[fit]
    assert receiver.fitted(size) == fitted
    assert receiver.tokens(fitted) == tokens


@given(
    fit=st.sampled_from(sorted(RECEIVERS)),
    width=st.integers(1, 20_000),
    height=st.integers(1, 20_000),
)
def test_a_fitted_size_is_within_the_limits_and_stays(fit: str, width: int, height: int) -> None:
    receiver = RECEIVERS[fit]
    size = receiver.fitted((width, height))
    assert 1 <= size[0] <= width
    assert 1 <= size[1] <= height
    if fit == "claude":
        assert max(size) <= 1568
        assert patches(size, 28) <= 1568
    if fit == "openai":
        assert patches(size, 32) <= 1536
    if min(width, height) > 200:
        assert size[0] / width == pytest.approx(size[1] / height, rel=0.02, abs=0.003)
    assert receiver.fitted(size) == size


def test_a_picture_is_resized_for_its_receiver(cotam: codec.Codec) -> None:
    page = np.full((700, 1800, 3), 250, np.uint8)
    page[::20, 100:900] = 20
    file = cotam.encode(page, tool="palette")
    url = data_url(file, "png", fit="claude")
    assert url.size == received(url).size == (1568, 610)
    assert url.tokens == 56 * 22
    boxed = data_url(file, fit=(600, 600))
    assert boxed.size == received(boxed).size == (600, 233)
    assert boxed.tokens is None
    small = data_url(file, fit="openai", max_bytes=4000)
    assert len(small) <= 4000
    assert small.tokens == patches(small.size, 32)


def test_a_url_is_a_string_like_any_other(file: bytes) -> None:
    url = data_url(file, fit="claude")
    assert json.loads(json.dumps({"url": url}))["url"] == str(url)
    for other in (copy.copy(url), copy.deepcopy(url), pickle.loads(pickle.dumps(url))):
        assert other == url
        assert (other.size, other.tokens) == (url.size, url.tokens)


def test_wrong_arguments_are_refused_in_a_sentence(file: bytes, tmp_path: Path) -> None:
    wrong: list[dict[str, Any]] = [
        {"format": "xyz"},
        {"fit": "nobody"},
        {"fit": (0, 5)},
        {"fit": 7},
        {"level": "latents"},
    ]
    for options in wrong:
        with pytest.raises(BadArgument):
            data_url(file, **options)
    for source in (tmp_path / "absent.ctm", b"no picture", None, 3.5):
        with pytest.raises(CodecError):
            data_url(source)  # type: ignore[arg-type]
