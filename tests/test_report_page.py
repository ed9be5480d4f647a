"""The report's page in a real browser, without network access."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.test_report import report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.slow
__all__ = ["report"]

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    program = (
        shutil.which("chromium")
        or shutil.which("chromium-browser")
        or shutil.which("google-chrome")
    )
    if not program:
        pytest.skip("there is no Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield started
        started.close()


@pytest.fixture
def page(browser: Any, report: Path) -> Iterator[Any]:
    """The page opened offline from disk, at a phone's size; a script error fails the test."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, offline=True)
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.goto((report / "index.html").as_uri())
    yield opened
    context.close()
    assert errors == []


def test_it_fits_a_phone(page: Any) -> None:
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for image in page.query_selector_all("img"):
        image.scroll_into_view_if_needed() if image.is_visible() else None
    assert (
        page.evaluate(
            "[...document.images].filter(i => i.src && i.complete && !i.naturalWidth).length"
        )
        == 0
    )
    assert page.evaluate(
        "[...document.querySelectorAll('select')]"
        ".every(s => s.getBoundingClientRect().height >= 44)"
    )


def test_the_slider_moves_by_keyboard(page: Any) -> None:
    slider = page.locator("#split")
    slider.focus()
    assert slider.input_value() == "50"
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert slider.input_value() == "55"
    assert page.locator("#stage").evaluate("e => e.style.getPropertyValue('--at')") == "55%"
    page.keyboard.press("Home")
    assert slider.input_value() == "0"


def test_the_slider_follows_the_pointer(page: Any) -> None:
    stage = page.locator("#stage")
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 25)
    page.mouse.up()
    assert abs(float(page.locator("#split").input_value()) - 80) <= 1


def test_any_two_codecs_and_overlays(page: Any) -> None:
    options = page.locator("#left option").all_inner_texts()
    assert options == ["original", "CoTAM", "JPEG", "WebP"]
    page.select_option("#left", "original")
    page.select_option("#right", "webp")
    assert "bytes" in page.locator("#right-note").inner_text()
    assert page.locator("#left-image").get_attribute("src") != page.locator(
        "#right-image"
    ).get_attribute("src")
    for name in ("importance", "bits"):
        page.select_option("#overlay", name)
        assert page.locator("#overlay-image").is_visible()
    page.select_option("#overlay", "")
    assert not page.locator("#overlay-image").is_visible()
    page.select_option("#picture", "cat.png")
    page.select_option("#size", "medium")
    assert page.locator("#left").input_value() == "original"


def test_all_of_it_can_be_reached_by_tab(page: Any) -> None:
    reached = []
    for _ in range(6):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
    assert reached == ["picture", "size", "left", "right", "overlay", "split"]


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a - b).mean())


def test_a_screenshot_shows_both_sides(page: Any, tmp_path: Path) -> None:
    def halves(left: str, right: str) -> tuple[np.ndarray, np.ndarray]:
        page.select_option("#left", left)
        page.select_option("#right", right)
        page.evaluate("Promise.all([...document.images].filter(i => i.src).map(i => i.decode()))")
        page.locator("#stage").screenshot(path=str(tmp_path / "stage.png"))
        seen = np.asarray(Image.open(tmp_path / "stage.png").convert("RGB")).astype(int)
        half = seen.shape[1] // 2
        return seen[:, : half - 20], seen[:, half + 20 :]  # without the divider

    page.select_option("#picture", "cat.png")
    left, right = halves("original", "jpeg")
    original, jpeg = halves("original", "original"), halves("jpeg", "jpeg")
    assert 2 * apart(left, original[0]) < apart(left, jpeg[0])
    assert 2 * apart(right, jpeg[1]) < apart(right, original[1])
