"""Transparency: what a picture looks like on a background, and colours that nobody can see."""

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


def colour_of(given: Any) -> Colour:
    """'white', '#ffee00', 'rgb(1, 2, 3)' or (red, green, blue) in 0..255. Raises BadArgument."""
    try:
        values = ImageColor.getrgb(given) if isinstance(given, str) else tuple(given)
        red, green, blue = (int(value) for value in values)
    except (TypeError, ValueError):
        red = -1
    if red < 0 or not all(0 <= value <= 255 for value in (red, green, blue)):
        raise BadArgument(
            f"a background is a colour such as 'white', '#ffee00' or (255, 238, 0), not {given!r}"
        )
    return red, green, blue


def on_background(pixels: Bytes, alpha: Bytes | None, background: Any = WHITE) -> Bytes:
    """What a person sees: [H, W, 3] composed on a colour by alpha [H, W]; the same array without
    alpha.

    out = (alpha * pixel + (255 - alpha) * background) / 255, rounded (Porter and Duff's "over",
    1984, on an opaque ground).
    """
    ground = np.asarray(colour_of(background), np.uint16)
    if alpha is None:
        return pixels
    out: Bytes = memory.empty(pixels.shape, np.uint8)
    for band in memory.bands(len(pixels), 3 * pixels.shape[1]):
        share = alpha[band, :, None].astype(np.uint16)
        out[band] = (pixels[band] * share + ground * (255 - share) + 127) // 255
        memory.release(out)
    return out


def without_hidden(pixels: Bytes, alpha: Bytes | None) -> Bytes:
    """Pixels of alpha 0 in the colours of their nearest visible neighbours, which cost few bits.

    Push-pull interpolation (Gortler et al., The Lumigraph, 1996): means of visible pixels over
    blocks of 2, 4, 8, ... pixels; each hidden pixel takes that of its smallest block that has one.
    """
    if alpha is None or alpha.all():
        return pixels
    seen = alpha > 0
    if not seen.any():
        return np.full_like(pixels, 255)
    fill = _filled(*_halved(pixels, seen))
    out: Bytes = memory.empty(pixels.shape, np.uint8)
    for band in _even_bands(pixels):
        rows = slice(band.start // 2, (band.stop + 1) // 2)
        behind = np.rint(fill[rows]).repeat(2, 0)[: band.stop - band.start]
        behind = behind.repeat(2, 1)[:, : pixels.shape[1]].astype(np.uint8)
        out[band] = np.where(seen[band, :, None], pixels[band], behind)
        memory.release(out)
    return out


def _even_bands(values: NDArray[Any]) -> list[slice]:
    """Bands of an even number of rows, the last one maybe not."""
    height = 2 * max(1, memory.BAND_BYTES // (2 * max(1, 12 * values.shape[1])))
    return [slice(i, min(i + height, len(values))) for i in range(0, len(values), height)]


def _halved(values: NDArray[Any], seen: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """(means of the seen of 2x2 values [H, W, 3], whether there are any), [H/2, W/2, ...]."""
    means = []
    counts = []
    for band in _even_bands(values):
        part: Floats = seen[band].astype(np.float32)
        edge = ((0, len(part) % 2), (0, part.shape[1] % 2))
        weighted = np.pad(values[band] * part[:, :, None], (*edge, (0, 0)))
        count = _block_sums(np.pad(part, edge)[:, :, None])
        counts.append(count[:, :, 0] > 0)
        means.append(_block_sums(weighted) / np.maximum(count, 1))
    return np.concatenate(means), np.concatenate(counts)


def _block_sums(values: Floats) -> Floats:
    rows, cols, channels = values.shape
    return values.reshape(rows // 2, 2, cols // 2, 2, channels).sum((1, 3), dtype=np.float32)


def _filled(values: Floats, seen: NDArray[np.bool_]) -> Floats:
    """The unseen places take the value of the coarser grid."""
    if seen.all():
        return values
    coarse = _filled(*_halved(values, seen)).repeat(2, 0).repeat(2, 1)
    return np.where(seen[:, :, None], values, coarse[: len(values), : values.shape[1]])
