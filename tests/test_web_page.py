"""The exported page and <cotam-image> in a real Chromium, without requests to other hosts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import codec
from codec.export import web
from codec.weights import checkpoint
from tests.browser import chromium, runtime, served

pytestmark = pytest.mark.slow
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, photo: NDArray[np.uint8]) -> Iterator[str]:
    """Address of the page, which is served with the weights `tiny` and two files."""
    folder = tmp_path_factory.mktemp("site")
    web.export(checkpoint.load("tiny"), folder, runtime())
    tiny = codec.load("tiny")
    (folder / "photo.ctm").write_bytes(tiny.encode(photo, tool="learned", quality=60))
    drawing = np.full((80, 120, 3), 255, np.uint8)
    drawing[20:60, 30:90] = (200, 30, 30)
    (folder / "drawing.ctm").write_bytes(tiny.encode(drawing, lossless=True))
    (folder / "bad.ctm").write_bytes(b"no picture")
    (folder / "element.html").write_text(
        "<!doctype html><meta charset=utf-8><script type=module src=parts/element.js></script>"
        "<script>for (const kind of ['preview', 'load', 'error'])"
        " document.addEventListener(kind, (event) => event.target.id === 'a' &&"
        " (document.title += ` ${kind} ${event.target.canvas?.width ?? ''}`), true)</script>"
        "<cotam-image id=a alt='a cat' src=photo.ctm></cotam-image>"
    )
    with served(folder) as found:
        yield found


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page at a phone's size. A script error or a request to another host fails the test."""
    context = browser.new_context(viewport=PHONE)
    opened = context.new_page()
    opened.set_default_timeout(120000)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))

    def check(request: Any) -> None:
        if urlparse(request.url).hostname not in ("127.0.0.1", None):
            wrong.append(request.url)

    context.on("request", check)
    yield opened
    context.close()
    assert wrong == []


def test_the_element_shows_the_preview_first(page: Any, address: str) -> None:
    page.goto(f"{address}/element.html")
    page.wait_for_function("document.title.includes('load')")
    assert page.title().split() == ["preview", "57", "load", "451"]
    canvas = page.locator("cotam-image canvas")
    assert canvas.get_attribute("aria-label") == "a cat"
    page.evaluate("document.title = ''; document.getElementById('a').src = 'drawing.ctm'")
    page.wait_for_function("document.title.includes('load')")
    assert page.title().split() == ["load", "120"]
    page.evaluate("document.title = ''; document.getElementById('a').src = 'bad.ctm'")
    page.wait_for_function("document.title.includes('error')")


def test_a_file_is_shown_with_its_layers(page: Any, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/index.html?src=photo.ctm")
    page.locator(".facts dt").first.wait_for()
    text = page.locator(".facts").inner_text()
    for fact in ("photo.ctm", "451x300 pixels", "learned", "tiny 4030fbf7"):
        assert fact in text
    plain = seen(page, tmp_path)
    for layer in ("qp", "bits", "tokens"):
        page.select_option("#layer", layer)
        assert page.locator(".layer").is_visible()
        assert np.abs(seen(page, tmp_path) - plain).mean() > 5, layer
        assert page.locator(".legend").inner_text()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert "144 of 576" in page.locator(".legend").inner_text()
    page.locator("#budget").focus()
    page.keyboard.press("ArrowRight")
    assert "173 of 576" in page.locator(".legend").inner_text()
    page.select_option("#layer", "")
    assert np.abs(seen(page, tmp_path) - plain).max() == 0


def seen(page: Any, folder: Path) -> NDArray[np.int64]:
    """A screenshot of the picture."""
    page.locator(".sheet").screenshot(path=str(folder / "seen.png"))
    return np.asarray(Image.open(folder / "seen.png").convert("RGB")).astype(int)


def test_a_chosen_file_a_bad_one_and_zoom_by_keys(page: Any, address: str, tmp_path: Path) -> None:
    page.goto(f"{address}/index.html")
    (tmp_path / "bad.ctm").write_bytes(b"no picture")
    page.set_input_files("#file", tmp_path / "bad.ctm")
    page.locator(".wrong").wait_for()
    assert page.locator(".wrong").inner_text() == "bad.ctm: this is not a CoTAM file"
    drawing = np.zeros((40, 60, 3), np.uint8)
    drawing[10:] = 255
    (tmp_path / "drawing.ctm").write_bytes(codec.load().encode(drawing, lossless=True))
    page.set_input_files("#file", tmp_path / "drawing.ctm")
    page.locator(".facts dt").first.wait_for()
    assert page.locator(".wrong").count() == 0
    before = page.locator(".sheet").bounding_box()["width"]
    page.locator(".stage").focus()
    page.keyboard.press("+")
    assert page.locator(".sheet").bounding_box()["width"] > 1.4 * before
    page.keyboard.press("0")
    assert page.locator(".sheet").bounding_box()["width"] == before
