"""The choice of the tool for several kinds of pictures, which the tests draw."""

from __future__ import annotations

import io
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from skimage import data

from codec.tools.choosing.content import choose
from codec.tools.choosing.features import block_maps, features

Pixels = NDArray[np.uint8]
PHOTOS = ("astronaut", "chelsea", "coffee", "rocket")
WORDS = "Cell output restarts when the kernel is idle; run all cells below 1234567890 "


def photograph(name: str) -> Pixels:
    return np.asarray(getattr(data, name)())


def page(background: str = "white", ink: str = "black", width: int = 700) -> Image.Image:
    image = Image.new("RGB", (width, 480), background)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(15)
    for line in range(18):
        draw.text((20, 20 + 25 * line), WORDS[line:] + WORDS[: 3 * line], ink, font)
    draw.rectangle((500, 60, 660, 200), fill="#3366cc", outline=ink)
    return image


def chart() -> Image.Image:
    image = Image.new("RGB", (420, 300), "white")
    draw = ImageDraw.Draw(image)
    for number, height in enumerate((50, 120, 90, 200, 160)):
        draw.rectangle((60 + 60 * number, 250 - height, 100 + 60 * number, 250), fill="#4c78a8")
        draw.text((70 + 60 * number, 255), str(height), "black")
    draw.line((50, 20, 50, 250, 390, 250), fill="black")
    return image


def scan() -> Pixels:
    """A scan: blurred text on grey paper, with noise."""
    soft = np.asarray(page().convert("L").filter(ImageFilter.GaussianBlur(0.6)), np.float64)
    noise = np.random.default_rng(0).normal(0, 5, soft.shape)
    grey = np.clip(soft * 0.85 + noise, 0, 255).astype(np.uint8)
    return np.repeat(grey[:, :480, None], 3, 2)


def as_jpeg(image: Image.Image, quality: int) -> Pixels:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"))


@pytest.mark.parametrize("name", PHOTOS)
def test_photographs_stay_with_the_learned_tool(name: str) -> None:
    choice = choose(photograph(name))
    assert choice.kind == "photograph"
    assert choice.tools == ("learned",)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("side", [100, 224, 380])
def test_smaller_photographs_in_grey_or_as_jpegs_stay_there_too(name: str, side: int) -> None:
    image = Image.fromarray(photograph(name)).resize((side, side))
    for changed in (image, image.convert("L").convert("RGB")):
        assert choose(np.asarray(changed)).kind == "photograph"
        assert choose(as_jpeg(changed, 60)).kind == "photograph"


@pytest.mark.parametrize(
    "colours", [("white", "black"), ("#1e1e1e", "#d4d4d4"), ("#fdf6e3", "#586e75")]
)
def test_pages_of_text_are_graphics_on_any_background(colours: tuple[str, str]) -> None:
    choice = choose(np.asarray(page(*colours)))
    assert choice.kind == "graphics"
    assert choice.tools[0] == "av1"


def test_a_clean_drawing_is_also_tried_as_a_palette() -> None:
    image = Image.new("RGB", (400, 300), "white")
    pen = ImageDraw.Draw(image)
    for bar in range(9):
        pen.rectangle((20 + 40 * bar, 280 - 25 * bar, 45 + 40 * bar, 280), fill="#4c78a8")
    assert choose(np.asarray(image)).tools == ("av1", "palette")


def test_charts_are_graphics_also_as_jpegs() -> None:
    assert choose(np.asarray(chart())).kind == "graphics"
    assert "learned" not in choose(as_jpeg(chart(), 75)).tools
    assert "learned" not in choose(as_jpeg(page(), 75)).tools


def test_a_page_with_a_photograph_on_a_part_of_it_is_graphics() -> None:
    image = page(width=900)
    image.paste(Image.fromarray(photograph("chelsea")[:200, :300]), (560, 230))
    assert choose(np.asarray(image)).kind == "graphics"


def test_text_on_noisy_paper_is_a_scan_and_goes_to_av1() -> None:
    choice = choose(scan())
    assert choice.kind == "text scan"
    assert choice.tools == ("av1",)


@pytest.mark.parametrize("side", [16, 32, 64])
def test_icons_are_small_pictures_and_never_learned(side: int) -> None:
    image = Image.new("RGB", (side, side), "white")
    ImageDraw.Draw(image).ellipse((2, 2, side - 3, side - 3), fill="#e64a19", outline="#263238")
    choice = choose(np.asarray(image))
    assert choice.kind == "small picture"
    assert choice.tools == ("av1", "palette")
    assert f"{side}x{side}" in choice.reason


def test_reasons_are_one_short_sentence_with_a_figure() -> None:
    for pixels in (photograph("coffee"), np.asarray(page()), scan()):
        reason = choose(pixels).reason
        assert len(reason) < 90
        assert "%" in reason
        assert "\n" not in reason


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 3), st.integers(0, 2**16))
def test_any_size_and_content_has_a_tool(height: int, width: int, colours: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    table = random.integers(0, 256, (4**colours, 3), dtype=np.uint8)
    choice = choose(table[random.integers(0, len(table), (height, width))])
    assert choice.tools
    if height * width <= 4096:
        assert "learned" not in choice.tools


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 60), st.integers(8, 60), st.integers(0, 2**16))
def test_block_maps_are_what_a_slow_loop_says(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    steps = random.integers(0, 3, (height, width, 1)) * random.choice([1, 30, 90])
    pixels = np.repeat(steps.astype(np.uint8), 3, 2)
    maps = block_maps(pixels)
    assert maps.flat.shape == (height // 8, width // 8)
    for row in range(height // 8):
        for column in range(width // 8):
            part = pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8, 1].astype(int)
            assert maps.highest[row, column] == part.max()
            assert maps.flat[row, column] == (np.ptp(part) <= 2)
            assert maps.sharp[row, column] == (np.ptp(part) > 64)
            assert maps.soft[row, column] == (np.ptp(part) < 16)


def test_features_of_one_colour_and_of_noise_are_the_extremes() -> None:
    plain = features(np.full((64, 64, 3), 200, np.uint8))
    assert (plain.flat, plain.top16, plain.colour, plain.paper) == (1, 1, 0, 1)
    noise = features(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    assert (noise.flat, noise.sharp, noise.drawn) == (0, 1, 0)


def test_the_screen_tools_import_no_network() -> None:
    code = (
        "import sys, codec.tools.av1, codec.tools.payloads.vp8l, codec.tools.choosing.content;"
        "import codec.tools.regions;"
        "print([m for m in ('torch', 'onnxruntime') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
