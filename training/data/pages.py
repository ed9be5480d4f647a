"""Renders pages with Chromium as training pictures: clean text and graphics, with photographs.

    python -m training.data.pages OUT --photos FOLDER --count 40 --seed 0

A page's name begins with its seed and its number, and only these two determine its content. Pages
that are already in OUT are skipped, so an interrupted run can be resumed.
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from codec.cli.outputs import write
from codec.errors import BadArgument, BadPicture, CodecError, sentence
from codec.io.folders import files_in
from training.data.page_html import KINDS, Photograph, page_html
from training.data.pictures import read_picture

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Disables services that use the network, and makes colours independent of the screen's profile.
FLAGS = (
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
)
# Suffixes of the picture formats that Chromium can show.
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".gif"})
MOST_PHOTOGRAPHS = 3
# Share of pages that are rendered with two screen pixels per CSS pixel.
FINE_SHARE = 1 / 3
SIDES = range(320, 4097)
SECONDS_PER_PAGE = 60


class BrowserUnavailable(CodecError):
    """Playwright or a Chromium browser is missing, or cannot be started."""


@dataclass(frozen=True)
class Page:
    """The numbers that a page is drawn from.

    Attributes:
        seed: The run's seed.
        number: Its place among the pages of that seed, from 0.
        share: The share of pages with photographs, 0..1.
    """

    seed: int
    number: int
    share: float

    @property
    def kind(self) -> str:
        """One of `KINDS`. Each round has every kind once, in a random order."""
        turn, place = divmod(self.number, len(KINDS))
        kinds = list(KINDS)
        # Python hashes a text seed with SHA-512, so a generator is the same on every machine and
        # independent of those for other purposes.
        Random(f"round {self.seed} {turn}").shuffle(kinds)
        return kinds[place]

    @property
    def has_photographs(self) -> bool:
        """Whether it shows photographs. Such pages are spread evenly, so short runs have some."""
        return int((self.number + 1) * self.share) > int(self.number * self.share)

    @property
    def scale(self) -> int:
        """Screen pixels per CSS pixel: 1 or 2."""
        return 2 if Random(f"scale {self.seed} {self.number}").random() < FINE_SHARE else 1

    @property
    def name(self) -> str:
        """The name of its file."""
        with_photographs = "-photo" if self.has_photographs else ""
        return f"s{self.seed}-{self.number:05}-{self.kind}{with_photographs}-{self.scale}x.png"

    def html(self, photos: Sequence[Path]) -> str:
        """Its HTML.

        Args:
            photos: The pictures to draw from; may be empty.

        Raises:
            BadPicture: None of the pictures can be decoded.
        """
        random = Random(f"page {self.seed} {self.number}")
        count = random.randint(1, MOST_PHOTOGRAPHS) if self.has_photographs else 0
        return page_html(self.kind, random, draw_photographs(photos, random, count), self.scale)


def draw_photographs(photos: Sequence[Path], random: Random, count: int) -> list[Photograph]:
    """Draw different photographs. Pictures that cannot be decoded are skipped with a warning.

    Args:
        photos: Pictures to draw from.
        random: Draws them.
        count: How many to draw.

    Returns:
        `count` photographs, or fewer if there are not enough.

    Raises:
        BadPicture: `count` is not 0, and none can be decoded.
    """
    drawn: list[Photograph] = []
    # All of them are put in random order, because some may be unreadable.
    for path in random.sample(photos, len(photos)) if count else ():
        pixels = read_picture(path)
        if pixels is not None:
            height, width = pixels.shape[:2]
            drawn.append(Photograph(path.resolve().as_uri(), width, height))
        if len(drawn) == count:
            return drawn
    if count and not drawn:
        raise BadPicture("none of the photographs can be decoded")
    return drawn


def list_photographs(folder: Path) -> list[Path]:
    """All pictures below a folder that Chromium can show, sorted. Raises BadArgument if none."""
    paths = files_in(folder, PHOTO_SUFFIXES)
    if not paths:
        raise BadArgument(f"there are no photographs (JPEG, PNG, WebP, AVIF) below {folder}")
    return paths


def browser_program() -> str | None:
    """Path of a Chromium on PATH. None if there is none: Playwright then uses its own."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def first_line(error: Exception) -> str:
    """The first line of Playwright's message, without the advice below it."""
    return str(error).strip().split("\n")[0]


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Start Chromium, and stop it when the context ends.

    Raises:
        BrowserUnavailable: Playwright or Chromium is missing, or Chromium does not start.
    """
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError as error:
        raise BrowserUnavailable(
            "Playwright is not installed: pip install 'playwright>=1.40,<2'"
        ) from error
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=browser_program(), args=list(FLAGS)
            )
        except Error as error:
            raise BrowserUnavailable(
                f"Chromium cannot be started ({first_line(error)}); install it with "
                "apt-get install chromium, or playwright install chromium"
            ) from error
        try:
            yield browser
        finally:
            browser.close()


def screenshot(browser: Browser, html: str, width: int, height: int, scale: int) -> bytes:
    """Render a page without network access.

    Args:
        browser: Chromium.
        html: The page.
        width: CSS pixels.
        height: CSS pixels.
        scale: Pixels per CSS pixel.

    Returns:
        A PNG file of `width * scale` times `height * scale` pixels.
    """
    context = browser.new_context(
        viewport={"width": width, "height": height}, device_scale_factor=scale, offline=True
    )
    try:
        with tempfile.TemporaryDirectory(prefix="cotam-page-") as folder:
            source = Path(folder) / "page.html"
            source.write_text(html, encoding="utf-8")
            opened = context.new_page()
            opened.goto(source.as_uri(), timeout=SECONDS_PER_PAGE * 1000)
            return opened.screenshot(type="png", timeout=SECONDS_PER_PAGE * 1000)
    finally:
        context.close()


def render(
    out: Path,
    photos: Sequence[Path],
    count: int,
    seed: int = 0,
    width: int = 1280,
    height: int = 800,
    share: float = 0.5,
) -> Iterator[Path]:
    """Render pages as PNG files, each written atomically. Pages that exist are skipped.

    Args:
        out: The folder for them, created if missing.
        photos: Photographs to draw from; if empty, pages have none.
        count: How many pages of this seed the folder will have at the end.
        seed: Determines the content of the pages.
        width: Width of the window in CSS pixels, 320..4096.
        height: Height of the window in CSS pixels, 320..4096.
        share: The share of pages with photographs, 0..1.

    Yields:
        The path of each file, after it was written.

    Raises:
        BadArgument: A number is out of its range.
        BrowserUnavailable: No browser is installed, or it cannot be started.
    """
    check(count, width, height, share)
    pages = [Page(seed, number, share if photos else 0.0) for number in range(count)]
    missing = [page for page in pages if not (out / page.name).exists()]
    if not missing:
        return
    with open_browser() as browser:
        for page in missing:
            png = screenshot(browser, page.html(photos), width, height, page.scale)
            yield save(out / page.name, png)


def save(path: Path, content: bytes) -> Path:
    """Write a file atomically. Returns its path."""
    write(os.fspath(path), lambda stream: stream.write(content), True)
    return path


def check(count: int, width: int, height: int, share: float) -> None:
    """Check the numbers of a run. Raises BadArgument if one is out of its range."""
    if count < 1:
        raise BadArgument(f"the count of pages must be at least 1, not {count}")
    for name, side in (("width", width), ("height", height)):
        if side not in SIDES:
            raise BadArgument(f"the {name} must be {SIDES[0]} to {SIDES[-1]} pixels, not {side}")
    if not 0 <= share <= 1:
        raise BadArgument(f"the share of pages with photographs must be 0 to 1, not {share}")


def options_of() -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        prog="python -m training.data.pages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder for the PNG files")
    parser.add_argument("--photos", type=Path, help="folder of photographs; without it, none")
    parser.add_argument("--count", type=int, default=40, help="pages (default: 40)")
    parser.add_argument("--seed", type=int, default=0, help="decides what is on them")
    parser.add_argument("--width", type=int, default=1280, help="of the window, in CSS pixels")
    parser.add_argument("--height", type=int, default=800, help="of the window, in CSS pixels")
    parser.add_argument(
        "--photo-share", type=float, default=0.5, help="share of pages with photographs, 0..1"
    )
    return parser.parse_args()


def main() -> None:
    """Command line: render pages, or exit with a one-line error."""
    logging.basicConfig(format="%(message)s")
    options = options_of()
    try:
        photos = list_photographs(options.photos) if options.photos else []
        for path in render(
            options.out,
            photos,
            options.count,
            options.seed,
            options.width,
            options.height,
            options.photo_share,
        ):
            print(path, flush=True)
    except (CodecError, OSError) as error:
        sys.exit(f"training.data.pages: {sentence(error)}")


if __name__ == "__main__":
    main()
