"""Encode and decode real pictures beside JPEG and WebP at the same size.

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

# Pictures of scikit-image: photographs, and a page of text.
SHIPPED = ("astronaut", "chelsea", "coffee", "rocket", "page")
RIVALS = ("jpeg", "webp")
# Pixels above each panel, and of the text's distance to its corner.
CAPTION = 24
MARGIN = 6
# Stages that take less are not worth a word in the table.
LEAST_SECONDS = 0.0005


def shipped_pictures() -> dict[str, Pixels]:
    """Pictures that scikit-image ships, by name; grey ones as RGB."""
    from skimage import data

    pictures = {name: getattr(data, name)() for name in SHIPPED}
    return {
        name: pixels if pixels.ndim == 3 else np.repeat(pixels[:, :, None], 3, 2)
        for name, pixels in pictures.items()
    }


def stages(seconds: dict[str, float]) -> str:
    """'analysis 35, prior 9, ...' in milliseconds."""
    return ", ".join(
        f"{name} {1000 * value:.0f}" for name, value in seconds.items() if value >= LEAST_SECONDS
    )


def compare(
    cotam: codec.Codec, name: str, pixels: Pixels, quality: float, table: Table
) -> Image.Image:
    """Code one picture with CoTAM, and with each rival at the same size.

    Args:
        cotam: the codec.
        name: of the picture.
        pixels: uint8 [H, W, 3].
        quality: of CoTAM, 0..100.
        table: gets a row for each codec.

    Returns:
        The original and the decoded pictures side by side.
    """
    encoded = cotam.encode_full(pixels, quality=quality)
    decoded = cotam.decode_full(encoded.data)
    result = decoded.picture.pixels
    size = len(encoded.data)
    panels = [("original", pixels), (f"CoTAM {size} bytes", result)]
    times = stages(encoded.seconds), stages(decoded.seconds)
    table.add_row(name, "CoTAM", *facts(pixels, encoded.data, result), *times)
    for rival in map(codec_under_test, RIVALS):
        data = rival.at_size(pixels, size)
        result = rival.decode(data)
        table.add_row(name, rival.name, *facts(pixels, data, result))
        panels.append((f"{rival.name} {len(data)} bytes", result))
    return side_by_side(panels)


def facts(pixels: Pixels, data: bytes, decoded: Pixels) -> tuple[str, str, str]:
    """Bytes, bits per pixel and PSNR as cells."""
    bpp = len(data) * 24 / pixels.size
    return str(len(data)), f"{bpp:.3f}", f"{psnr(pixels, decoded):.2f}"


def side_by_side(panels: list[tuple[str, Pixels]]) -> Image.Image:
    """Pictures of one size in a row, with their captions above."""
    height, width = panels[0][1].shape[:2]
    sheet = Image.new("RGB", (width * len(panels), height + CAPTION), "white")
    for index, (caption, pixels) in enumerate(panels):
        sheet.paste(Image.fromarray(pixels), (index * width, CAPTION))
        corner = index * width + MARGIN, MARGIN
        ImageDraw.Draw(sheet).text(corner, caption, fill="black")
    return sheet


def stack(sheets: list[Image.Image]) -> Image.Image:
    """Images below one another."""
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
    parser.add_argument("image", nargs="?", help="your picture; those of scikit-image by default")
    parser.add_argument("-q", "--quality", type=float, default=30)
    parser.add_argument("--out", type=Path, default=Path("demo/side-by-side.png"))
    options = parser.parse_args()
    console = Console()
    try:
        pictures = (
            {Path(options.image).stem: images.load(options.image, DEFAULT_LIMIT_PIXELS).pixels}
            if options.image
            else shipped_pictures()
        )
        cotam = codec.load()
        table = Table("picture", "codec", "bytes", "bpp", "PSNR dB", "encode ms", "decode ms")
        # The first call loads and allocates; its times would mislead.
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
