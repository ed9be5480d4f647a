"""Pages with photographs: a screen tool codes the page, the learned tool the photographs."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.bitstream import container
from codec.errors import CodecError, Corrupt, WrongModel
from codec.tools import mixed
from codec.tools.regions import Box, Region
from tests.test_regions import page

# Photographs cover 20 % of the page, and 30 % of its left part.
PAGE = page(("astronaut", 64, 64), ("coffee", 64, 320))
DENSE = np.ascontiguousarray(PAGE[:560, :480])


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.square(a.astype(float) - b).mean()))


@pytest.fixture(scope="module")
def file(cotam: codec.Codec) -> bytes:
    return cotam.encode(PAGE, tool="mixed")


@pytest.mark.slow
def test_only_large_photographs_are_coded_apart_unasked(cotam: codec.Codec) -> None:
    assert codec.inspect(cotam.encode(DENSE)).tool == "mixed"
    assert codec.inspect(cotam.encode(PAGE)).tool in ("av1", "palette")


def test_photographs_on_a_page_are_coded_apart(cotam: codec.Codec, file: bytes) -> None:
    found = codec.inspect(file)
    assert (found.tool, found.lossless, found.model) == ("mixed", False, "small")
    assert found.reason == "it holds photographs among graphics"
    parts = mixed.read(container.read(file).payload, *PAGE.shape[:2])
    assert len(parts.regions) == 2
    decoded = cotam.decode(file, output="array")
    outside = np.ones(PAGE.shape[:2], bool)
    for region in parts.regions:
        box = region.box
        outside[box.top : box.bottom, box.left : box.right] = False
        assert psnr(box.of(decoded), box.of(PAGE)) > 20
    assert psnr(decoded[outside], PAGE[outside]) > 30
    assert np.array_equal(codec.decode(file, output="array"), decoded)
    assert cotam.decode(file, level="preview").size == (100, 75)


@pytest.mark.slow
def test_quality_size_and_exactness_keep_their_meaning(cotam: codec.Codec, file: bytes) -> None:
    sizes = [len(cotam.encode(PAGE, tool="mixed", quality=quality)) for quality in (20, 80)]
    assert sizes[0] < len(file) < sizes[1]
    assert len(cotam.encode(PAGE, tool="mixed", target_bytes=12_000)) <= 12_000
    exact = cotam.encode(DENSE, quality=100)
    assert codec.inspect(exact).lossless
    assert np.array_equal(cotam.decode(exact, output="array"), DENSE)
    assert codec.inspect(cotam.encode(DENSE, tool="screen")).tool != "mixed"


def test_alpha_of_a_page_is_kept(cotam: codec.Codec) -> None:
    alpha = np.full(PAGE.shape[:2], 255, np.uint8)
    alpha[:40] = 90
    image = Image.fromarray(np.dstack([PAGE, alpha]))
    file = cotam.encode(image, tool="mixed")
    assert codec.inspect(file).tool == "mixed"
    decoded = cotam.decode(file)
    assert decoded.mode == "RGBA"
    assert np.array_equal(np.asarray(decoded)[..., 3], alpha)


def test_other_weights_are_named(file: bytes) -> None:
    with pytest.raises(WrongModel, match="load the model 'small'"):
        codec.load("tiny").decode(file)


def test_a_payload_that_nests_is_refused() -> None:
    regions = [Region(Box(0, 0, 8, 8), b"x")]
    with pytest.raises(Corrupt, match="holds another one"):
        mixed.read(mixed.write(mixed.Parts(mixed.NUMBER, bytes(4), b"", regions), 64, 64), 64, 64)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_any_damage_ends_in_a_picture_or_a_sentence(
    cotam: codec.Codec, file: bytes, draw: st.DataObject
) -> None:
    content = container.read(file)
    payload = bytearray(content.payload)
    # The positions of numbers and lengths: at the beginning and between the parts.
    place = draw.draw(st.integers(0, len(payload) - 1) | st.integers(0, 12))
    payload[place] ^= draw.draw(st.integers(1, 255))
    payload = payload[: draw.draw(st.integers(1, len(payload)) | st.just(len(payload)))]
    damaged = container.Container(
        content.width, content.height, 0, b"", bytes(payload), tool=content.tool, quality=50
    )
    with contextlib.suppress(CodecError):
        assert cotam.decode(container.write(damaged), output="array").shape == PAGE.shape
