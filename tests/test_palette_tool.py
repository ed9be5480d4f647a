"""The palette tool: exact at quality 100; fewer colours below, with a bounded error."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image, ImageDraw

import codec
from codec.tools import palette
from tests.conftest import ROOT

SHAPES = st.tuples(st.integers(1, 70), st.integers(1, 70), st.sampled_from((3, 4)))


def drawing(width: int = 320, height: int = 200) -> Image.Image:
    """A window with text, lines and a button."""
    image = Image.new("RGB", (width, height), (250, 250, 252))
    pen = ImageDraw.Draw(image)
    pen.rectangle((0, 0, width, 24), fill=(40, 60, 120))
    pen.rounded_rectangle((20, 150, 120, 180), 6, fill=(0, 120, 215))
    for row in range(6):
        pen.text((20, 40 + 16 * row), f"line {row} of a settings page, value {row * 37}", fill=0)
    return image


@given(pixels=SHAPES.flatmap(lambda shape: hnp.arrays(np.uint8, shape)))
def test_any_picture_comes_back_at_quality_100(pixels: NDArray[np.uint8]) -> None:
    payload = palette.encode(pixels)
    np.testing.assert_array_equal(palette.decode(payload, *pixels.shape), pixels)


@given(
    pixels=SHAPES.flatmap(lambda shape: hnp.arrays(np.uint8, shape)),
    quality=st.floats(0, 99),
)
def test_no_colour_moves_beyond_the_radius(pixels: NDArray[np.uint8], quality: float) -> None:
    radius = palette.radius_of(quality)
    merged = palette.merged(pixels, radius)
    away = np.abs(merged.astype(float) - pixels) * palette.CHANNEL_WEIGHTS[: pixels.shape[2]]
    assert away.max() <= radius + 2 ** (palette.LOW_BITS - 1)


def test_a_lower_quality_has_fewer_colours() -> None:
    pixels = np.asarray(drawing())
    counts = [
        len(np.unique(palette.merged(pixels, palette.radius_of(q)).reshape(-1, 3), axis=0))
        for q in (0, 50, 90, 100)
    ]
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]


def test_a_drawing_is_coded_by_a_screen_tool_and_says_why(cotam: codec.Codec) -> None:
    data = cotam.encode(drawing())
    info = codec.inspect(data)
    assert info.tool in ("palette", "av1")
    assert "screen" in (info.reason or "")
    assert info.base_qp is None
    with pytest.raises(codec.NoLatents):
        cotam.decode(data, level="latents")
    assert cotam.decode(data, level="preview").size == (40, 25)
    assert cotam.decode_full(data, want_bits=True).bits.shape == (13, 20)  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1"])
def test_lossless_returns_the_same_pixels_in_any_mode(cotam: codec.Codec, mode: str) -> None:
    image = drawing(90, 70)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    image = image.convert(mode)
    back = cotam.decode(cotam.encode(image, lossless=True))
    np.testing.assert_array_equal(
        np.asarray(back.convert("RGBA")), np.asarray(image.convert("RGBA"))
    )


def test_quality_100_of_a_screen_is_lossless(cotam: codec.Codec) -> None:
    data = cotam.encode(drawing(), quality=100)
    assert codec.inspect(data).lossless
    np.testing.assert_array_equal(cotam.decode(data, output="array"), np.asarray(drawing()))


def test_a_photograph_stays_with_the_learned_tool(
    cotam: codec.Codec, photo: NDArray[np.uint8]
) -> None:
    assert codec.inspect(cotam.encode(photo)).tool == "learned"
    assert cotam.encode(photo) == cotam.encode(photo, tool="learned")


def test_options_that_a_screen_tool_ignores_are_named(cotam: codec.Codec) -> None:
    encoded = cotam.encode_full(drawing(), roi=[(0, 0, 64, 64)])
    assert any("roi" in note for note in encoded.notes)


@pytest.mark.slow
def test_a_size_is_met_by_a_screen_tool(cotam: codec.Codec) -> None:
    data = cotam.encode(drawing(), target_bytes=2000)
    assert len(data) <= 2000
    with pytest.raises(codec.TargetTooSmall):
        cotam.encode(drawing(), target_bytes=60)


def test_screens_need_neither_pytorch_nor_onnx_runtime(tmp_path: object) -> None:
    program = """
import sys
for name in ("torch", "onnxruntime"):
    sys.modules[name] = None
import numpy as np
import codec
white = np.full((90, 120, 3), 255, np.uint8)
white[20:60, 30:90] = (10, 20, 200)
data = codec.load().encode(white)
assert codec.inspect(data).tool != "learned"
assert codec.decode(data).size == (120, 90)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def icon(side: int, kind: int) -> Image.Image:
    """Draw a sign, a button, bars, or a gradient with a disc, at four times the size."""
    large = 4 * side
    image = Image.new("RGB", (large, large), "white")
    pen = ImageDraw.Draw(image)
    tenth = large // 10
    if kind == 0:
        pen.ellipse(
            (tenth, tenth, 9 * tenth, 9 * tenth), fill="#d02030", outline="#400000", width=4
        )
        pen.line((3 * tenth, 5 * tenth, 7 * tenth, 5 * tenth), fill="white", width=tenth)
    elif kind == 1:
        pen.rounded_rectangle((tenth, 2 * tenth, 9 * tenth, 8 * tenth), tenth, fill="#20a060")
        triangle = [(4 * tenth, 3 * tenth), (4 * tenth, 7 * tenth), (7 * tenth, 5 * tenth)]
        pen.polygon(triangle, fill="white")
    elif kind == 2:
        for bar, colour in enumerate(("#4060a0", "#c06030", "#309030", "#a03030")):
            left = tenth * (1 + 2 * bar)
            pen.rectangle((left, tenth * (8 - 2 * bar), left + tenth, 9 * tenth), fill=colour)
    else:
        for row in range(large):
            shade = (40 + row * 150 // large, 90, 200 - row * 100 // large)
            pen.line((0, row, large, row), fill=shade)
        pen.ellipse((3 * tenth, 3 * tenth, 7 * tenth, 7 * tenth), fill="white")
    return image.resize((side, side), Image.Resampling.LANCZOS)


@pytest.mark.parametrize("side", [16, 24, 32, 48, 64])
@pytest.mark.parametrize("kind", range(4))
def test_icons_keep_35_db_in_no_more_bytes_than_a_png(
    cotam: codec.Codec, side: int, kind: int
) -> None:
    image = icon(side, kind)
    pixels = np.asarray(image)
    data = cotam.encode(image, quality=60)
    assert codec.inspect(data).tool in ("palette", "av1")
    error = np.square(cotam.decode(data, output="array").astype(float) - pixels).mean()
    assert error <= 255**2 / 10**3.5
    png = io.BytesIO()
    image.save(png, "PNG", optimize=True)
    assert len(data) <= len(png.getvalue())
