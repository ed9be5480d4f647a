"""The README's picture: a rendered scene and a screenshot, as AVIF and as CoTAM at the same bytes.

`python -m benchmarks.front_picture`. Both pictures are made by this program, because licences do
not allow redistributing photographs. The scene has textures, shadows and grain like a photograph.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from PIL import Image

import codec
from benchmarks.demo import side_by_side, stack
from benchmarks.lib.scene import scene
from benchmarks.streams.pages import html
from codec.evaluation.codecs import codec_under_test
from codec.evaluation.distortion import Pixels
from training.data.pages import open_browser

SIZE = (512, 384)
WIDTH = 1024
HEIGHT = 640
# Crop of the page that is shown at native size: left, top, right, bottom.
SHOWN = (0, 0, 512, 240)
# Qualities of CoTAM, low enough that differences are visible in a small picture.
SCENE_QUALITY = 8
SCREEN_QUALITY = 20


def screenshot() -> Pixels:
    """Screenshot of the page that the stream benchmark uses, rendered by Chromium."""
    with open_browser() as browser:
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_content(html())
        return np.asarray(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))


def row(cotam: codec.Codec, pixels: Pixels, quality: float, box: tuple[int, ...]) -> Image.Image:
    """The original, AVIF and CoTAM side by side."""
    left, top, right, bottom = box
    data = cotam.encode(pixels, quality=quality)
    avif = codec_under_test("avif-best")
    rival = avif.at_size(pixels, len(data))
    shown = [
        ("original", pixels),
        (f"AVIF (speed 3, 4:4:4), {len(rival)} bytes", avif.decode(rival)),
        (f"CoTAM, {len(data)} bytes", cotam.decode(data, output="array")),
    ]
    return side_by_side([(title, picture[top:bottom, left:right]) for title, picture in shown])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, nargs="?", default=Path("docs/front.webp"))
    options = parser.parse_args()
    cotam = codec.load()
    rows = [
        row(cotam, scene(*SIZE), SCENE_QUALITY, (0, 0, *SIZE)),
        row(cotam, screenshot(), SCREEN_QUALITY, SHOWN),
    ]
    stack(rows).save(options.out, quality=90, method=6)


if __name__ == "__main__":
    main()
