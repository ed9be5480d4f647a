"""Encodes and decodes real pictures beside JPEG and WebP at the same size: `make demo` or `make demo IMAGE=photo.jpg`."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from rich.console import Console
from rich.table import Table

import codec
from codec.bitstream.container import DEFAULT_LIMIT_PIXELS
from codec.evaluation.rivals import JPEG, WEBP, psnr
from codec.io import images

SHIPPED = ("astronaut", "chelsea", "coffee", "rocket", "page")
CAPTION = 24


def shipped_pictures() -> dict[str, NDArray[np.uint8]]:
    """Pictures that scikit-image ships."""
    from skimage import data

    found = {name: getattr(data, name)() for name in SHIPPED}
    return {n: p if p.ndim == 3 else np.repeat(p[:, :, None], 3, 2) for n, p in found.items()}


def stages(seconds: dict[str, float]) -> str:
    """'analysis 35, prior 9, …' in milliseconds."""
    return ", ".join(
        f"{name} {1000 * value:.0f}" for name, value in seconds.items() if value >= 0.0005
    )


def compare(
    cotam: codec.Codec, name: str, pixels: NDArray[np.uint8], quality: float, table: Table
) -> Image.Image:
    """Adds three rows to the table; returns the pictures side by side."""
    encoded = cotam.encode_full(pixels, quality=quality)
    decoded = cotam.decode_full(encoded.data)
    size = len(encoded.data)
    panels = [("original", pixels), (f"CoTAM {size} bytes", decoded.picture.pixels)]

    def row(
        codec_name: str,
        data: bytes,
        out: NDArray[np.uint8],
        encode_ms: str = "",
        decode_ms: str = "",
    ) -> None:
        bpp = len(data) * 24 / pixels.size
        table.add_row(
            name,
            codec_name,
            str(len(data)),
            f"{bpp:.3f}",
            f"{psnr(pixels, out):.2f}",
            encode_ms,
            decode_ms,
        )

    row(
        "CoTAM",
        encoded.data,
        decoded.picture.pixels,
        stages(encoded.seconds),
        stages(decoded.seconds),
    )
    for rival in (JPEG, WEBP):
        data = rival.at_size(pixels, size)
        out = rival.decode(data)
        row(rival.name, data, out)
        panels.append((f"{rival.name} {len(data)} bytes", out))
    return side_by_side(panels)


def side_by_side(panels: list[tuple[str, NDArray[np.uint8]]]) -> Image.Image:
    """Panels in a row, captions above."""
    height, width = panels[0][1].shape[:2]
    sheet = Image.new("RGB", (width * len(panels), height + CAPTION), "white")
    for index, (caption, pixels) in enumerate(panels):
        sheet.paste(Image.fromarray(pixels), (index * width, CAPTION))
        ImageDraw.Draw(sheet).text((index * width + 6, 6), caption, fill="black")
    return sheet


def stack(sheets: list[Image.Image]) -> Image.Image:
    """Sheets below one another."""
    out = Image.new("RGB", (max(s.width for s in sheets), sum(s.height for s in sheets)), "white")
    top = 0
    for sheet in sheets:
        out.paste(sheet, (0, top))
        top += sheet.height
    return out


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "image", nargs="?", help="a picture of yours; those of scikit-image by default"
    )
    parser.add_argument("-q", "--quality", type=float, default=30)
    parser.add_argument("--out", type=Path, default=Path("demo/side-by-side.png"))
    options = parser.parse_args()
    console = Console()
    try:
        chosen = (
            {Path(options.image).stem: images.load(options.image, DEFAULT_LIMIT_PIXELS).pixels}
            if options.image
            else shipped_pictures()
        )
        cotam = codec.load()
        table = Table("picture", "codec", "bytes", "bpp", "PSNR dB", "encode ms", "decode ms")
        cotam.decode(cotam.encode(next(iter(chosen.values()))))
        sheets = [
            compare(cotam, name, pixels, options.quality, table) for name, pixels in chosen.items()
        ]
    except (codec.CodecError, OSError) as error:
        raise SystemExit(f"demo: {error}") from None
    console.print(table)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    stack(sheets).save(options.out)
    console.print(f"side by side: {options.out}")


if __name__ == "__main__":
    main()
