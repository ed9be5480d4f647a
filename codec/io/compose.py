"""Transparency: compose pictures on a background, and replace colours that are invisible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

from codec import memory
from codec.errors import BadArgument

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)


def colour_of(colour: Any) -> Colour:
    """Read a colour.

    Args:
        colour: 'white', '#ffee00', 'rgb(1, 2, 3)' or (red, green, blue) in 0..255.

    Returns:
        Red, green and blue in 0..255.

    Raises:
        BadArgument: it is no colour.
    """
    try:
        values = ImageColor.getrgb(colour) if isinstance(colour, str) else tuple(colour)
        red, green, blue = (int(value) for value in values)
    except (TypeError, ValueError):
        red = -1
    if red < 0 or not all(0 <= value <= 255 for value in (red, green, blue)):
        raise BadArgument(
            f"a background is a colour such as 'white', '#ffee00' or (255, 238, 0), not {colour!r}"
        )
    return red, green, blue


def on_background(pixels: Bytes, alpha: Bytes | None, background: Any = WHITE) -> Bytes:
    """Compose pixels on a colour: Porter and Duff's "over" (1984) on an opaque ground.

    out = (alpha * pixel + (255 - alpha) * background) / 255, rounded.

    Args:
        pixels: uint8 [H, W, 3].
        alpha: uint8 [H, W]; None for opaque pixels.
        background: as `colour_of` takes it.

    Returns:
        uint8 [H, W, 3]; the same array without alpha.

    Raises:
        BadArgument: the background is no colour.
    """
    ground = np.asarray(colour_of(background), np.uint16)
    if alpha is None:
        return pixels
    out: Bytes = memory.empty(pixels.shape, np.uint8)
    for band in memory.bands(len(pixels), 3 * pixels.shape[1]):
        # 16 bits hold 255 * 255 + 127.
        share = alpha[band, :, None].astype(np.uint16)
        out[band] = (pixels[band] * share + ground * (255 - share) + 127) // 255
        memory.release(out)
    return out


def without_hidden(pixels: Bytes, alpha: Bytes | None) -> Bytes:
    """Give pixels of alpha 0 the colours of visible pixels nearby, which cost few bits.

    Push-pull interpolation (Gortler et al., The Lumigraph, 1996): means of visible pixels over
    blocks of 2, 4, 8, ... pixels. Each hidden pixel takes the mean of its smallest block that has
    visible pixels.

    Args:
        pixels: uint8 [H, W, 3].
        alpha: uint8 [H, W], or None.

    Returns:
        uint8 [H, W, 3]; the same array if no pixel is hidden, white if all are.
    """
    if alpha is None or alpha.all():
        return pixels
    visible = alpha > 0
    if not visible.any():
        return np.full_like(pixels, 255)
    fill = _filled(*_halved(pixels, visible))
    out: Bytes = memory.empty(pixels.shape, np.uint8)
    for band in _even_bands(pixels):
        rows = slice(band.start // 2, (band.stop + 1) // 2)
        behind = np.rint(fill[rows]).repeat(2, 0)[: band.stop - band.start]
        behind = behind.repeat(2, 1)[:, : pixels.shape[1]].astype(np.uint8)
        out[band] = np.where(visible[band, :, None], pixels[band], behind)
        memory.release(out)
    return out


def _even_bands(values: NDArray[Any]) -> list[slice]:
    """Bands of an even number of rows; the last one may be odd."""
    height = 2 * max(1, memory.BAND_BYTES // (2 * max(1, 12 * values.shape[1])))
    return [slice(i, min(i + height, len(values))) for i in range(0, len(values), height)]


def _halved(values: NDArray[Any], visible: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Means of visible values in blocks of 2x2, and where there are any: [H/2, W/2, ...]."""
    means = []
    counts = []
    for band in _even_bands(values):
        part: Floats = visible[band].astype(np.float32)
        edge = ((0, len(part) % 2), (0, part.shape[1] % 2))
        weighted = np.pad(values[band] * part[:, :, None], (*edge, (0, 0)))
        count = _block_sums(np.pad(part, edge)[:, :, None])
        counts.append(count[:, :, 0] > 0)
        means.append(_block_sums(weighted) / np.maximum(count, 1))
    return np.concatenate(means), np.concatenate(counts)


def _block_sums(values: Floats) -> Floats:
    rows, cols, channels = values.shape
    return values.reshape(rows // 2, 2, cols // 2, 2, channels).sum((1, 3), dtype=np.float32)


def _filled(values: Floats, visible: NDArray[np.bool_]) -> Floats:
    """Give places without visible pixels the value of a coarser grid."""
    if visible.all():
        return values
    coarse = _filled(*_halved(values, visible)).repeat(2, 0).repeat(2, 1)
    return np.where(visible[:, :, None], values, coarse[: len(values), : values.shape[1]])
