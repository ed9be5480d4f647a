"""Rendered pages for training: their content, how they are written, and a run with them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from numpy.typing import NDArray
from PIL import Image

from codec.errors import BadArgument, BadPicture
from tests.conftest import ROOT
from tests.test_runs import logged, train
from training.data import pages
from training.data.folder import FolderData
from training.data.page_charts import CHARTS, chart
from training.data.page_html import (
    DARK,
    KINDS,
    LEAST_PHOTO_WIDTH,
    LIGHT,
    SANS,
    TEXT_SIZES,
    Photograph,
    page_html,
)
from training.data.page_words import Words
from training.data.pages import BrowserUnavailable, Page, draw_photographs, list_photographs, render

CONF = str(ROOT / "conf")


@pytest.fixture
def photos(tmp_path: Path, photo: NDArray[np.uint8]) -> Path:
    """A folder with two photographs, a picture that cannot be decoded, and a text."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.fromarray(photo).save(folder / "one & two.png")
    Image.fromarray(photo[::-1]).save(folder / "three.png")
    (folder / "broken.jpg").write_bytes(b"no picture")
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def has_browser() -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    try:
        with pages.open_browser():
            pass
    except BrowserUnavailable as error:
        pytest.skip(str(error))


def test_a_seed_decides_the_html(photos: Path) -> None:
    found = list_photographs(photos)
    for number in range(len(KINDS)):
        page = Page(3, number, 1.0)
        assert page.html(found) == Page(3, number, 1.0).html(found)
        assert page.html(found) != Page(4, number, 1.0).html(found)
    first, second = Page(3, 0, 1.0), Page(3, len(KINDS), 1.0)
    assert first.html(found) != second.html(found)


def test_a_round_has_every_kind() -> None:
    for start in (0, len(KINDS)):
        found = {Page(5, start + place, 0.5).kind for place in range(len(KINDS))}
        assert found == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_shows_a_photograph_or_none(kind: str) -> None:
    photo = Photograph("file:///a%20b/c&d.png", 500, 400)
    for seed in range(6):
        with_one = page_html(kind, Random(seed), [photo], 1)
        assert with_one.count("<img") == 1
        assert 'src="file:///a%20b/c&amp;d.png"' in with_one
        found = re.search(r'<img [^>]*style="width:(\d+)px;height:(\d+)px">', with_one)
        assert found
        assert int(found[1]) >= LEAST_PHOTO_WIDTH
        assert int(found[2]) >= 0.7 * LEAST_PHOTO_WIDTH
        assert "<img" not in page_html(kind, Random(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_refers_to_nothing_else(kind: str) -> None:
    for seed in range(6):
        page = page_html(kind, Random(seed))
        assert "<script" not in page
        assert "src=" not in page
        assert "url(" not in page
        assert "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")


def test_themes_fonts_sizes_and_scales_vary() -> None:
    styles = [page_html("chat", Random(seed)).split("body {")[2] for seed in range(80)]
    found = [re.match(r" background: (\S+); .*? font: (\d+)px/\S+ (.*?);", s) for s in styles]
    backs, sizes, fonts = (set(values) for values in zip(*(one.groups() for one in found if one)))
    assert backs == {theme.back for theme in (*LIGHT, *DARK)}
    assert sizes == {str(size) for size in TEXT_SIZES}
    assert fonts == set(SANS)
    assert {Page(0, number, 0.5).scale for number in range(20)} == {1, 2}


def test_every_chart_is_svg() -> None:
    drawn = {chart(Random(seed), Words(Random(seed)), ["red", "blue"]) for seed in range(30)}
    assert len(drawn) == 30
    for svg in drawn:
        assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert len(CHARTS) == 4


def test_the_share_of_pages_with_photographs() -> None:
    for share, expected in ((0.0, 0), (0.25, 10), (0.8, 32), (1.0, 40)):
        assert sum(Page(1, number, share).has_photographs for number in range(40)) == expected


def test_broken_photographs_are_skipped(photos: Path, tmp_path: Path) -> None:
    found = list_photographs(photos)
    assert [path.name for path in found] == ["broken.jpg", "one & two.png", "three.png"]
    drawn = draw_photographs(found, Random(0), 3)
    assert sorted(Path(photo.address).name for photo in drawn) == [
        "one%20%26%20two.png",
        "three.png",
    ]
    with pytest.raises(BadPicture, match="none of the photographs can be decoded"):
        draw_photographs(found[:1], Random(0), 1)
    with pytest.raises(BadArgument, match="no photographs"):
        list_photographs(tmp_path / "missing")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("count", 0, "count"),
        ("width", 100, "width"),
        ("height", 9999, "height"),
        ("share", 1.5, "share"),
    ],
)
def test_numbers_out_of_range(tmp_path: Path, name: str, value: float, message: str) -> None:
    numbers = {"count": 1} | {name: value}
    with pytest.raises(BadArgument, match=message):
        next(render(tmp_path / "out", [], **numbers))
    assert not (tmp_path / "out").exists()


def test_no_playwright_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "playwright.sync_api", None)
    with pytest.raises(BrowserUnavailable, match="Playwright is not installed"):
        next(render(tmp_path / "out", [], 1))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_no_browser_is_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    environment = {
        "PATH": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "HOME": str(tmp_path),
        "PLAYWRIGHT_BROWSERS_PATH": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "training.data.pages", str(tmp_path / "out")],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("training.data.pages: Chromium cannot be started")
    assert done.stderr.isascii()
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_browser_renders_pages_and_goes_on(
    has_browser: None, photos: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = list_photographs(photos)
    size = {"width": 640, "height": 480, "share": 1.0}
    written = list(render(out, found, 2, 7, **size))
    assert sorted(out.iterdir()) == sorted(written)
    assert [path.name for path in written] == [Page(7, number, 1.0).name for number in range(2)]
    for path in written:
        scale = int(path.stem[-2])
        with Image.open(path) as picture:
            assert picture.format == "PNG"
            assert picture.size == (640 * scale, 480 * scale)
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 1000
    assert list(render(out, found, 2, 7, **size)) == []
    before = written[0].read_bytes()
    written[0].unlink()
    assert list(render(out, found, 2, 7, **size)) == written[:1]
    assert written[0].read_bytes() == before


SHOWN = """[...document.images].map(image => {
  const box = image.getBoundingClientRect();
  const width = Math.min(box.right, innerWidth) - Math.max(box.left, 0);
  const height = Math.min(box.bottom, innerHeight) - Math.max(box.top, 0);
  return image.naturalWidth ? [width, height] : [0, 0];
})"""


@pytest.mark.slow
def test_the_window_shows_the_first_photograph(
    has_browser: None, photos: Path, tmp_path: Path
) -> None:
    found = list_photographs(photos)
    with pages.open_browser() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
        opened = context.new_page()
        for number in range(2 * len(KINDS)):
            (tmp_path / "page.html").write_text(Page(2, number, 1.0).html(found))
            opened.goto((tmp_path / "page.html").as_uri())
            sides = opened.evaluate(SHOWN)
            assert any(width >= 300 and height >= 220 for width, height in sides), number
        context.close()


def drawn(folder: Path, seed: int) -> None:
    """Draw a tiny picture of flat rectangles."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(seed)
    blocks = random.integers(0, 256, (10, 16, 3), np.uint8)
    Image.fromarray(blocks.repeat(16, 0).repeat(16, 1)).save(folder / "a.png")


@pytest.fixture
def graphics(pictures: Path, tmp_path: Path) -> tuple[Path, Path]:
    """Training data with drawings, and a folder of pages in another place."""
    drawn(pictures / "train" / "screens", 1)
    drawn(pictures / "train" / "charts_clean", 2)
    drawn(tmp_path / "rendered pages", 3)
    return pictures, tmp_path / "rendered pages"


def graphics_data(*overrides: str) -> FolderData:
    with initialize_config_dir(CONF, version_base="1.3"):
        config = compose("train", ["experiment=toy", "data=graphics", *overrides])
    return instantiate(config.data)


def test_graphics_are_mixed_by_their_shares(graphics: tuple[Path, Path]) -> None:
    data, rendered = graphics
    crops = graphics_data(f"data_folder={data}", f"data.places.pages='{rendered}'")
    loader = crops.train_dataloader().dataset
    assert [paths[-1].parent.name for paths in loader.folders] == [
        "photos",
        "text",
        "screens",
        "charts_clean",
        "rendered pages",
    ]
    assert loader.probabilities == pytest.approx([0.5, 0.1, 0.15, 0.1, 0.15])


def test_a_folder_of_share_0_may_be_missing(graphics: tuple[Path, Path]) -> None:
    data, _ = graphics
    without = graphics_data(f"data_folder={data}", "data.weights.pages=0").train_dataloader()
    assert len(without.dataset.folders) == 4
    with pytest.raises(FileNotFoundError, match="pages"):
        graphics_data(f"data_folder={data}").train_dataloader()


@pytest.mark.parametrize("weights", [{"photos": 0.0}, {"photos": 1.0, "text": -0.5}, {}])
def test_shares_that_cannot_be(pictures: Path, weights: dict[str, float]) -> None:
    with pytest.raises(BadArgument, match=r"data\.weights"):
        FolderData(str(pictures / "train"), weights, 1, 1, 64, 1.0, 0).train_dataloader()


@pytest.mark.slow
def test_a_run_trains_on_graphics(graphics: tuple[Path, Path], tmp_path: Path) -> None:
    data, rendered = graphics
    run = tmp_path / "run"
    train(
        data,
        run,
        "data=graphics",
        f"data.places.pages='{rendered}'",
        "steps=4",
        "data.size=64",
        "trainer.log_every_n_steps=1",
    )
    losses = [float(row["loss"]) for row in logged(run) if row.get("loss")]
    assert len(losses) == 4
    assert np.isfinite(losses).all()
