"""Compare CoTAM with other codecs at the same file size on a photograph and a screenshot.

`make demo` or `make demo IMAGE=photo.jpg`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

import codec
from codec.bitstream.container import DEFAULT_LIMIT_PIXELS
from codec.evaluation.codecs import codec_under_test
from codec.evaluation.distortion import Pixels, psnr
from codec.io import images

# A photograph that scikit-image ships.
PHOTOGRAPH = "coffee"
RIVALS = ("jpeg", "webp", "avif")
# Pixels of the drawn screenshot.
SCREEN = (640, 400)
# Pixels above each panel for its caption, and between the caption and the panel's corner.
CAPTION = 24
MARGIN = 6


def screenshot() -> Pixels:
    """Draw a window with a menu, a list and text: uint8 [H, W, 3]."""
    width, height = SCREEN
    screen = Image.new("RGB", SCREEN, "white")
    draw = ImageDraw.Draw(screen)
    draw.rectangle((0, 0, width, 28), "#24364b")
    draw.text((12, 8), "File   Edit   View   Help", "white")
    draw.rectangle((0, 28, 150, height), "#eef1f4")
    for row in range(14):
        draw.text((14, 42 + 24 * row), f"Message {row + 1}", "#24364b")
        line = f"{row + 1:02}  A vision tower reads this line as an eye does. {row * 37 % 101} %"
        draw.text((170, 42 + 24 * row), line, "black")
    draw.rounded_rectangle((500, 350, 620, 384), 6, "#2f6fde")
    draw.text((540, 361), "Reply", "white")
    return np.asarray(screen)


def example_pictures() -> dict[str, Pixels]:
    """A photograph and a screenshot, by name."""
    from skimage import data

    return {"photograph": getattr(data, PHOTOGRAPH)(), "screenshot": screenshot()}


def total(seconds: dict[str, float]) -> str:
    """The sum of all stages in milliseconds."""
    return f"{1000 * sum(seconds.values()):.0f}"


def compare(
    cotam: codec.Codec, name: str, pixels: Pixels, quality: float, table: Table
) -> Image.Image:
    """Code one picture with CoTAM, and with each rival at the same size.

    Args:
        cotam: the codec.
        name: name of the picture.
        pixels: uint8 [H, W, 3].
        quality: quality of CoTAM, 0..100.
        table: one row per codec is appended to it.

    Returns:
        The original and the decoded pictures side by side.
    """
    encoded = cotam.encode_full(pixels, quality=quality)
    decoded = cotam.decode_full(encoded.data)
    result = decoded.picture.pixels
    size = len(encoded.data)
    panels = [("original", pixels), (f"CoTAM {size} bytes", result)]
    times = total(encoded.seconds), total(decoded.seconds)
    table.add_row(name, f"CoTAM, {encoded.tool}", *facts(pixels, encoded.data, result), *times)
    for rival in map(codec_under_test, RIVALS):
        data = rival.at_size(pixels, size)
        result = rival.decode(data)
        table.add_row(name, rival.name, *facts(pixels, data, result))
        panels.append((f"{rival.name} {len(data)} bytes", result))
    return side_by_side(panels)


def facts(pixels: Pixels, data: bytes, decoded: Pixels) -> tuple[str, str, str]:
    """Bytes, bits per pixel and PSNR as cells of a table."""
    bpp = len(data) * 24 / pixels.size
    return str(len(data)), f"{bpp:.3f}", f"{psnr(pixels, decoded):.2f}"


def side_by_side(panels: list[tuple[str, Pixels]]) -> Image.Image:
    """Put pictures of one size in a row, with captions above."""
    height, width = panels[0][1].shape[:2]
    sheet = Image.new("RGB", (width * len(panels), height + CAPTION), "white")
    for index, (caption, pixels) in enumerate(panels):
        sheet.paste(Image.fromarray(pixels), (index * width, CAPTION))
        corner = index * width + MARGIN, MARGIN
        ImageDraw.Draw(sheet).text(corner, caption, fill="black")
    return sheet


def stack(sheets: list[Image.Image]) -> Image.Image:
    """Put images below one another."""
    size = max(sheet.width for sheet in sheets), sum(sheet.height for sheet in sheets)
    stacked = Image.new("RGB", size, "white")
    top = 0
    for sheet in sheets:
        stacked.paste(sheet, (0, top))
        top += sheet.height
    return stacked


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("image", nargs="?", help="a picture of yours instead of the two examples")
    parser.add_argument("-q", "--quality", type=float, default=30)
    parser.add_argument("--out", type=Path, default=Path("demo/side-by-side.png"))
    options = parser.parse_args()
    console = Console()
    try:
        pictures = (
            {Path(options.image).stem: images.load(options.image, DEFAULT_LIMIT_PIXELS).pixels}
            if options.image
            else example_pictures()
        )
        cotam = codec.load()
        table = Table("picture", "codec", "bytes", "bpp", "PSNR dB", "encode ms", "decode ms")
        # The first call loads code and allocates memory, so it is not timed.
        cotam.decode(cotam.encode(next(iter(pictures.values()))))
        sheets = [
            compare(cotam, name, pixels, options.quality, table)
            for name, pixels in pictures.items()
        ]
    except (codec.CodecError, OSError) as error:
        raise SystemExit(f"demo: {error}") from None
    console.print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    stack(sheets).save(options.out)
    console.print(f"side by side: {options.out}")


if __name__ == "__main__":
    main()
