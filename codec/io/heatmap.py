"""Heat maps: the QP field and the bits per latent position, as colours over the decoded picture."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from codec.coding.latent_grid import STRIDE, latent_grid
from codec.errors import BadArgument
from codec.networks.config import QP_MAX

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float64]

LARGEST = 960  # pixels of a panel's longer side at most
SMALLEST = 480  # pixels of its longer side, up to which small pictures are enlarged
THINNEST = 24  # pixels of its shorter side at least
NARROWEST = 340  # pixels that titles and numbers need
ASPECT = 1.6  # width / height of a sheet that the arrangement aims at
GAP = 20  # pixels between panels
ALPHA = 0.68  # of the colours over the picture
DIMMED = 0.8  # brightness of the grey picture below them
PAPER = (255, 255, 255)
INK = (24, 28, 36)
PALE = (104, 110, 122)  # of notes
# Relative luminance grows from the first to the last, so that the order survives a grey print.
ANCHORS = (
    (26, 24, 84),
    (28, 74, 134),
    (20, 126, 142),
    (62, 172, 118),
    (164, 208, 78),
    (255, 234, 92),
)


@dataclass(frozen=True)
class Scale:
    """A colour scale from low to high, linear in value ** power; 1/2 suits counts of bits."""

    low: float
    high: float
    power: float = 1.0

    def positions(self, values: NDArray[np.generic]) -> Floats:
        """Positions 0..1 on the scale, of the same shape; values outside low..high are clipped."""
        shown = np.clip(values.astype(np.float64), self.low, self.high) ** self.power
        low = self.low**self.power
        high = self.high**self.power
        return (shown - low) / (high - low)

    def value(self, position: float) -> float:
        """The value at a position, for the numbers below the colour scale."""
        low = self.low**self.power
        high = self.high**self.power
        return (low * (1 - position) + high * position) ** (1 / self.power)


@dataclass(frozen=True)
class Panel:
    """A panel of the sheet.

    Attributes:
        title: above the image.
        image: all panels have one size.
        scale: its colours; None for the picture.
        note: one line below the image.
    """

    title: str
    image: Image.Image
    scale: Scale | None
    note: str


def panels(
    pixels: Bytes,
    bits: NDArray[np.floating],
    qp: NDArray[np.integer],
    importance: NDArray[np.floating] | None = None,
) -> Image.Image:
    """Draw the decoded picture, its QP field and its bits per latent position on one sheet.

    Args:
        pixels: uint8 [H, W, 3].
        bits: [rows, cols] on the latent grid, at least 0.
        qp: [rows, cols] on the latent grid, 0..63.
        importance: [h, w], another panel, on any grid over the whole picture.

    Returns:
        An RGB image whose panels have at most 960 pixels a side.

    Raises:
        BadArgument: a shape or a value is wrong.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8 or not pixels.size:
        raise BadArgument(
            f"a picture must be uint8 [H, W, 3], not {pixels.dtype} {list(pixels.shape)}"
        )
    height, width = pixels.shape[:2]
    grid = latent_grid(height, width)
    _check("bits", bits, grid, math.inf)
    _check("the QP field", qp, grid, QP_MAX)
    picture = Image.fromarray(pixels).resize(_size(width, height), _filter(width, height))

    def overlay(title: str, field: NDArray[np.generic], scale: Scale, note: str) -> Panel:
        return Panel(title, _overlay(picture, pixels, field, scale), scale, note)

    bpp = float(bits.sum(dtype=np.float64)) / (width * height)
    shown = [
        Panel("decoded picture", picture, None, f"{width}x{height} pixels, latents {bpp:.3f} bpp")
    ]
    if importance is not None:
        _check("importance", importance, None, math.inf, -math.inf)
        shown.append(
            overlay(
                "importance (as given)", importance, _range(importance), "yellow = more important"
            )
        )
    low = int(qp.min())
    high = int(qp.max())
    if low == high:
        shown.append(
            overlay(
                f"QP field (uniform, QP {low})", qp, Scale(0, QP_MAX), "QP; a higher QP is finer"
            )
        )
    else:
        shown.append(
            overlay(
                "QP field (importance as coded)", qp, Scale(low, high), "QP; a higher QP is finer"
            )
        )
    shown.append(
        overlay(
            "bits per position", bits, _range(bits, 0.5), "bits per 16x16 pixels, square-root scale"
        )
    )
    return _arrange(shown)


def colours(positions: Floats) -> Floats:
    """Map positions 0..1 of any shape to colours [..., 3] in 0..255: dark blue, teal, yellow."""
    stops = np.linspace(0, 1, len(ANCHORS))
    return np.stack([np.interp(positions, stops, channel) for channel in zip(*ANCHORS)], axis=-1)


def _check(
    name: str,
    field: NDArray[np.generic],
    shape: tuple[int, int] | None,
    most: float,
    least: float = 0,
) -> None:
    if field.ndim != 2 or not field.size or (shape is not None and field.shape != shape):
        expected = "two-dimensional" if shape is None else f"[{shape[0]}, {shape[1]}]"
        raise BadArgument(f"{name} must be {expected}, not {list(field.shape)}")
    values = field.astype(np.float64)
    if not (np.isfinite(values).all() and values.min() >= least and values.max() <= most):
        raise BadArgument(f"{name} must hold finite values in range")


def _range(field: NDArray[np.generic], power: float = 1.0) -> Scale:
    """The scale of a field's values; a field of one value gets a range that includes zero."""
    low = float(field.min())
    high = float(field.max())
    if low == high:
        low, high = min(low, 0.0), max(high, 0.0) or float(low == 0)
    return Scale(low, high, power)


def _size(width: int, height: int) -> tuple[int, int]:
    """A panel's size: large pictures shrink, small ones grow by a whole factor, thin ones widen."""
    longest = max(width, height)
    factor = LARGEST / longest if longest > LARGEST else max(1, SMALLEST // longest)
    return max(THINNEST, round(width * factor)), max(THINNEST, round(height * factor))


def _filter(width: int, height: int) -> Image.Resampling:
    return Image.Resampling.LANCZOS if max(width, height) > LARGEST else Image.Resampling.NEAREST


def _overlay(
    picture: Image.Image, pixels: Bytes, field: NDArray[np.generic], scale: Scale
) -> Image.Image:
    """The field's cells in colour over the grey picture, at the picture's panel size."""
    cells = []
    on_grid = field.shape == latent_grid(*pixels.shape[:2])
    for shown, true, count in zip((picture.height, picture.width), pixels.shape, field.shape):
        centres = (np.arange(shown) + 0.5) / shown
        # The last latent position of a row reaches beyond the picture.
        index = centres * true / STRIDE if on_grid else centres * count
        cells.append(np.minimum(index.astype(np.int64), count - 1))
    tinted = colours(scale.positions(field))[cells[0][:, None], cells[1][None, :]]
    return _blend(tinted, np.asarray(picture.convert("L"), dtype=np.float64)[:, :, None])


def _blend(tinted: Floats, grey: Floats | float) -> Image.Image:
    return Image.fromarray(np.rint(tinted * ALPHA + grey * (DIMMED * (1 - ALPHA))).astype(np.uint8))


def _arrange(shown: list[Panel]) -> Image.Image:
    """Put all panels on one sheet, with the number of columns nearest to ASPECT."""
    width = max(NARROWEST, shown[0].image.width)
    font_size = min(26, max(16, width // 30))
    height = shown[0].image.height + _above(font_size) + _beneath(font_size)
    count = len(shown)

    def sheet(columns: int) -> tuple[int, int]:
        return columns * (width + GAP) + GAP, count // columns * (height + GAP) + GAP

    def elongation(columns: int) -> float:
        w, h = sheet(columns)
        return abs(math.log(w / h / ASPECT))

    columns = min((c for c in range(1, count + 1) if count % c == 0), key=elongation)
    out = Image.new("RGB", sheet(columns), PAPER)
    for index, panel in enumerate(shown):
        row, column = divmod(index, columns)
        _draw(
            out, panel, GAP + column * (width + GAP), GAP + row * (height + GAP), width, font_size
        )
    return out


def _above(font_size: int) -> int:
    return round(1.6 * font_size)


def _beneath(font_size: int) -> int:
    return round(4.3 * font_size)


def _draw(out: Image.Image, panel: Panel, left: int, top: int, width: int, font_size: int) -> None:
    """Draw a panel: title, image, colour scale, numbers, note."""
    draw = ImageDraw.Draw(out)
    large = ImageFont.load_default(font_size)
    small = ImageFont.load_default(round(0.85 * font_size))
    draw.text((left, top), panel.title, INK, large)
    out.paste(panel.image, (left, top + _above(font_size)))
    at = top + _above(font_size) + panel.image.height + font_size // 2
    if panel.scale is not None:
        bar = colours(np.tile(np.linspace(0, 1, width), (round(0.8 * font_size), 1)))
        out.paste(_blend(bar, 128.0), (left, at))
        at += round(1.05 * font_size)
        for x, text, anchor in _numbers(panel.scale):
            draw.text((left + x * (width - 1), at), text, INK, small, anchor)
        at += round(1.25 * font_size)
    draw.text((left, at), panel.note, PALE, small)


def _numbers(scale: Scale) -> Iterator[tuple[float, str, str]]:
    """Position, text and anchor of the numbers at both ends and the middle of a scale."""
    decimals = max(0, 2 - math.floor(math.log10(scale.high - scale.low)))
    for position, anchor in ((0.0, "la"), (0.5, "ma"), (1.0, "ra")):
        text = f"{scale.value(position):.{min(decimals, 9)}f}"
        yield position, text.rstrip("0").rstrip(".") if "." in text else text, anchor
