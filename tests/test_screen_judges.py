"""The judges for screenshots: tokens of tiles at native resolution, and words read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from codec.evaluation.judges import JudgeUnavailable
from codec.evaluation.judges.native_tiles import NativeTilesJudge, tiles
from codec.evaluation.judges.words import WordsJudge, share_found, words

SENTENCE = "Tokens follow every pixel\nNineteen settings saved\nRestart kernel 2048 times"


def page() -> Image.Image:
    image = Image.new("RGB", (500, 300), "white")
    draw = ImageDraw.Draw(image)
    draw.multiline_text((30, 60), SENTENCE, "black", ImageFont.load_default(28), spacing=24)
    return image


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 9), st.integers(1, 6))
def test_tiles_hold_the_picture_and_never_more_than_are_wanted(
    height: int, width: int, side: int, most: int
) -> None:
    picture = (
        np.arange(height * width * 3, dtype=np.uint32).reshape(height, width, 3).astype(np.uint8)
    )
    found = tiles(picture, side, most)
    count = -(-height // side) * -(-width // side)
    assert found.shape == (min(count, most), side, side, 3)
    assert np.array_equal(found[0, : min(side, height), : min(side, width)], picture[:side, :side])


def test_tiles_repeat_the_last_row_and_column() -> None:
    picture = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert np.array_equal(tiles(picture, 3)[0, 2, 2], picture[1, 1])


@pytest.mark.slow
def test_tokens_judge_says_zero_for_the_original_and_more_for_a_blurred_page(
    data_folder: Path,
) -> None:
    judge = NativeTilesJudge(data_folder)
    original = pixels(page())
    soft = pixels(page().filter(ImageFilter.GaussianBlur(1)))
    softer = pixels(page().filter(ImageFilter.GaussianBlur(4)))
    found = [judge.judge(original, p, None)["token_error"] for p in (original, soft, softer)]
    assert found[0] == 0
    assert 0 < found[1] < found[2]


def test_a_folder_without_weights_has_no_tokens_judge(tmp_path: Path) -> None:
    with pytest.raises(JudgeUnavailable, match="DeiT-Tiny"):
        NativeTilesJudge(tmp_path)


def test_words_are_runs_of_letters_and_digits_as_they_are_written() -> None:
    assert words("Save as… (CSV) to x:\nfile_name2 Save") == Counter(
        {"Save": 2, "CSV": 1, "file": 1, "name2": 1}
    )
    assert words("übung 東京都 a1 12") == Counter({"übung": 1, "東京都": 1})


def test_a_word_counts_as_often_as_it_occurs() -> None:
    assert share_found(Counter({"save": 2, "open": 2}), Counter({"save": 1, "open": 3})) == 0.75
    assert share_found(Counter(), Counter({"noise": 1})) == 1


@pytest.mark.slow
def test_words_judge_reads_a_page_and_loses_words_that_are_blurred(tmp_path: Path) -> None:
    try:
        judge = WordsJudge(tmp_path)
    except JudgeUnavailable as error:
        pytest.skip(str(error))
    original = pixels(page())
    assert {"Tokens", "kernel", "2048"} <= set(judge.read(original))
    blurred = pixels(page().filter(ImageFilter.GaussianBlur(9)))
    assert judge.judge(original, original, None) == {"words": 1}
    assert judge.judge(original, blurred, None)["words"] < 0.5
