"""Files of screen tools work in all interfaces.

These are the command, the Pillow plugin, batches, exported encoders and decoders, URLs and tokens.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.integrations import pillow
from codec.integrations.data_url import data_url
from codec.integrations.ray import Decode, Encode
from codec.tokens.selection import select_tokens
from tests.conftest import run_cotam
from tests.test_palette_tool import drawing

TOOLS = ("palette", "av1")


@pytest.fixture(scope="module", params=TOOLS)
def file(request: pytest.FixtureRequest, cotam: codec.Codec) -> bytes:
    return cotam.encode(drawing(), tool=request.param)


@pytest.mark.slow
def test_the_command(tmp_path: Path) -> None:
    drawing().save(tmp_path / "shot.png")
    assert run_cotam("encode", tmp_path / "shot.png", "--lossless").returncode == 0
    back = tmp_path / "back.png"
    assert run_cotam("decode", tmp_path / "shot.ctm", "-o", back).returncode == 0
    with Image.open(back) as image:
        assert np.array_equal(np.asarray(image), np.asarray(drawing()))
    sheet = tmp_path / "map.png"
    done = run_cotam("inspect", tmp_path / "shot.ctm", "--heatmap", sheet)
    assert done.returncode == 0, done.stderr
    assert sheet.is_file()


def test_the_pillow_plugin(cotam: codec.Codec, file: bytes) -> None:
    pillow.register()
    with Image.open(io.BytesIO(file)) as image:
        assert image.size == drawing().size
        assert np.array_equal(np.asarray(image), cotam.decode(file, output="array"))
    stream = io.BytesIO()
    drawing().save(stream, "CTM", lossless=True)
    assert codec.inspect(stream.getvalue()).lossless


def test_batches(cotam: codec.Codec) -> None:
    pictures = np.empty(1, object)
    pictures[0] = np.asarray(drawing())
    batch = Encode(column="picture", quality=40)({"picture": pictures})
    assert batch["ctm"][0] == cotam.encode(drawing(), quality=40)
    assert Decode()(batch)["image"][0].shape == (200, 320, 3)


def test_data_urls(cotam: codec.Codec, file: bytes) -> None:
    url = data_url(file, "png")
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), cotam.decode(file, output="array"))


def test_tokens_go_where_the_drawing_is(cotam: codec.Codec) -> None:
    image = Image.new("RGB", (320, 200), "white")
    image.paste(drawing(160, 200), (160, 0))
    decoded = cotam.decode_full(cotam.encode(image, tool="av1"), want_bits=True)
    chosen = select_tokens(decoded, 0.25, (14, 14))
    assert (chosen.indexes % 14 >= 7).mean() > 0.7


@pytest.mark.slow
def test_exported_halves(halves: Path, cotam: codec.Codec, file: bytes) -> None:
    decoder = codec.load(halves / "decoder")
    assert np.array_equal(decoder.decode(file, output="array"), cotam.decode(file, output="array"))
    encoder = codec.load(halves / "encoder")
    assert encoder.encode(drawing()) == cotam.encode(drawing())


def test_an_array_is_what_a_person_sees(cotam: codec.Codec, small: NDArray[np.uint8]) -> None:
    image = Image.fromarray(small).quantize(16).convert("RGBA")
    image.putalpha(0)
    assert (cotam.decode(cotam.encode(image, lossless=True), output="array") == 255).all()
