"""Records sequences of screenshots: `python -m benchmarks.streams.record OUT`.

::

    page (pages.py) -> Chromium at a size -> a screenshot after every action -> OUT/scene-size

Recordings are not committed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from benchmarks.streams.pages import html, sentence
from training.data.pages import open_browser

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

# A common screenshot size of agents (docs/screens.md), and a whole desktop.
SIZES = ((1456, 819), (1920, 1080))
Steps = Iterator[None]
# Pixels that the page scrolls per notch of the mouse wheel.
WHEEL = 120


def typing(page: Page, random: Random) -> Steps:
    """Text is typed into two fields, one letter per frame."""
    page.evaluate("tab(1)")
    yield
    for field, count in (("#field-0", 19), ("#note", 19)):
        page.click(field)
        yield
        for letter in sentence(random, 6)[:count]:
            page.keyboard.type(letter)
            yield


def menus(page: Page, random: Random) -> Steps:
    """Menus open, the pointer moves over their entries, and they close."""
    yield
    for name in ("file", "edit", "view", "tools", "edit"):
        page.click(f"[data-menu=menu-{name}]")
        yield
        for entry in (2, 3, 4, 6):
            page.hover(f"#menu-{name} div:nth-child({entry})")
            yield
        page.click("header b")
        yield
        for link in (3, 7):
            page.hover(f"nav a:nth-child({link})")
            yield


def scrolling(page: Page, random: Random) -> Steps:
    """A long page is scrolled down by a notch of the wheel per frame, then up a little."""
    page.mouse.move(800, 400)
    yield
    for step in range(39):
        page.mouse.wheel(0, -WHEEL if step in (20, 21, 22) else WHEEL)
        page.wait_for_timeout(150)
        yield


def tabs(page: Page, random: Random) -> Steps:
    """Tabs are switched, and the pointer moves over rows of their tables."""
    yield
    for number in (1, 2, 0, 3, 0, 2, 1, 3):
        page.click(f"#to-{number}")
        yield
        for height in (300, 420, 510):
            page.mouse.move(620, height)
            yield


def dialog(page: Page, random: Random) -> Steps:
    """A dialog opens, is filled in, and closes; twice."""
    yield
    for _ in range(2):
        page.evaluate("dialog(true)")
        yield
        page.click("#answer")
        for letter in sentence(random, 3)[:10]:
            page.keyboard.type(letter)
            yield
        page.evaluate("dialog(false)")
        yield


def chart(page: Page, random: Random) -> Steps:
    """A chart advances by one step per frame."""
    page.evaluate("tab(2)")
    for step in range(30):
        page.evaluate(f"chart({step})")
        yield


def video(page: Page, random: Random) -> Steps:
    """A video plays in a corner."""
    for step in range(30):
        page.evaluate(f"video({step})")
        yield


SCENES: dict[str, Callable[[Page, Random], Steps]] = {
    scene.__name__: scene for scene in (typing, menus, scrolling, tabs, dialog, chart, video)
}


def frames(browser: Browser, scene: str, size: tuple[int, int], seed: int = 0) -> Iterator[bytes]:
    """PNG files of a scene, one for each frame.

    Args:
        browser: Chromium.
        scene: a key of SCENES.
        size: width and height of the window.
        seed: determines the text on the page.
    """
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, offline=True, reduced_motion="reduce"
    )
    try:
        page = context.new_page()
        page.set_content(html(seed))
        for _ in SCENES[scene](page, Random(seed)):
            yield page.screenshot(type="png", animations="disabled", caret="initial")
    finally:
        context.close()


def record(out: Path, scenes: list[str], seed: int = 0) -> Iterator[Path]:
    """Record scenes at both sizes. Existing folders are skipped.

    Yields:
        The path of each folder, after it was written.
    """
    with open_browser() as browser:
        for size in SIZES:
            for scene in scenes:
                folder = out / f"{scene}-{size[0]}x{size[1]}"
                if folder.is_dir():
                    continue
                parts = folder.with_suffix(".part")
                parts.mkdir(parents=True, exist_ok=True)
                for number, data in enumerate(frames(browser, scene, size, seed)):
                    (parts / f"{number:03}.png").write_bytes(data)
                parts.rename(folder)
                yield folder


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="the folder for the recordings")
    parser.add_argument("--scenes", default=",".join(SCENES))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    scenes = options.scenes.split(",")
    if unknown := [name for name in scenes if name not in SCENES]:
        raise SystemExit(f"record: scenes are {', '.join(SCENES)}, not '{unknown[0]}'")
    for folder in record(options.out, scenes, options.seed):
        print(f"{folder}: {len(list(folder.glob('*.png')))} frames")


if __name__ == "__main__":
    main()
