"""Finds boxes that became darker, lighter or of another hue, and perhaps moved a little.

::

    box before, box after -> line through the samples of each channel, outliers left out -> tones
    film in a box -> phase correlation -> shift -> the same at that shift

A highlighted row, a page behind a dialog and a fading film are sent as copies with other tones,
which take about twenty bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codec.stream.blocks import SIDE, errors
from codec.tools.changes import MOST_TONE, ONE, Copy, Tones
from codec.tools.regions import Box

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Shift = tuple[int, int]
# Pixels. The pixels of a smaller box cost no more bytes than such a copy.
LEAST_AREA = 256
# Samples of a box that lines are drawn through.
SAMPLES = 1536
# Levels. Samples that are farther from the line are left out when the next line is fitted.
OUTLIERS = (48.0, 24.0, 12.0)
# Variance in squared levels. Below it a channel is flat, and only an offset can be found.
FLAT = 4.0
# Share of the blocks of a box that must become right.
LEAST_RIGHT = 0.3
# Share of the wrong pixels in a first sample that must become right.
LEAST_LIKELY = 0.2
MOST_COPIES = 8
# Pixels of a box in which a shift is looked for, and the colours that it must have.
LEAST_FILM = 4096
MOST_FILM = 1 << 19
LEAST_COLOURS = 200
# The largest shift of a film, in pixels.
MOST_SHIFT = 64


@dataclass(frozen=True)
class Views:
    """Three pictures uint8 [H, W, 3].

    Attributes:
        before: the source before.
        now: the same after the copies that were found already.
        after: the new source.
    """

    before: Pixels
    now: Pixels
    after: Pixels


def find(views: Views, boxes: Iterable[Box], shifts: Sequence[Shift], most: float) -> list[Copy]:
    """Copies with other tones that put most of a box right.

    Args:
        views: the pictures.
        boxes: around what changed, without overlap.
        shifts: (dx, dy) of what has moved; no shift is always tried.
        most: the largest mean squared error of a block that is right.

    Returns:
        At most eight.
    """
    found: list[Copy] = []
    for box in sorted(boxes, key=lambda box: (-box.area, box)):
        if box.area < LEAST_AREA or len(found) == MOST_COPIES:
            break
        ways = {(0, 0): None, **dict.fromkeys(shifts)}
        if LEAST_FILM <= box.area <= MOST_FILM:
            ways[_film(box.of(views.before), box.of(views.after))] = None
        copy = _best(views, box, list(ways), most)
        if copy is not None:
            found.append(copy)
    return found


def _best(views: Views, box: Box, shifts: Sequence[Shift], most: float) -> Copy | None:
    """The copy at one of the shifts that puts most blocks right."""
    best = None
    least = 0.0
    near = _near(_some(box.of(views.now)), _some(box.of(views.after)), most)
    for dx, dy in shifts:
        target = _inside(box, dx, dy, views.after.shape)
        if target is None:
            continue
        source = Copy(target, dx, dy).source.of(views.before)
        new = target.of(views.after)
        tones, likely = fitted(source, new, most)
        if likely - near < LEAST_LIKELY * (1 - near) or (tones.plain and not (dx or dy)):
            continue
        if not least:
            least = LEAST_RIGHT + _right(box.of(views.now), box.of(views.after), most)
        share = _right(toned(source, tones), new, most) * target.area / box.area
        if share > least:
            least = share
            best = Copy(target, dx, dy, tones)
    return best


def _inside(box: Box, dx: int, dy: int, shape: tuple[int, ...]) -> Box | None:
    """The part of a box whose pixels come from the picture."""
    left, top = max(box.left, -dx), max(box.top, -dy)
    right, bottom = min(box.right, shape[1] - dx), min(box.bottom, shape[0] - dy)
    return Box(left, top, right, bottom) if left < right and top < bottom else None


def _right(one: Pixels, other: Pixels, most: float) -> float:
    """Share of the blocks that are near enough."""
    rows, columns = -(-one.shape[0] // SIDE), -(-one.shape[1] // SIDE)
    every = np.ones((rows, columns), np.bool_)
    return float((errors(one, other, every) <= max(0.0, most)).mean())


def fitted(before: Pixels, after: Pixels, most: float) -> tuple[Tones, float]:
    """The tones that turn most samples of `before` into those of `after`.

    Args:
        before: uint8 [h, w, 3].
        after: the same shape.
        most: squared levels by which a sample that is near may differ.

    Returns:
        The tones, and the share of the sampled pixels that they bring near those of `after`.
    """
    x, y = _some(before), _some(after)
    gains, offsets = _lines(x, y)
    near = _near((x * (gains / ONE) + offsets).astype(np.float32), y, most)
    red, green, blue = (int(gain) for gain in gains)
    levels = [int(offset) for offset in offsets]
    return Tones((red, green, blue), (levels[0], levels[1], levels[2])), near


def _some(pixels: Pixels) -> Floats:
    """About 1536 pixels [N, 3], evenly spaced."""
    step = max(1, round((pixels.size / 3 / SAMPLES) ** 0.5))
    return pixels[::step, ::step].reshape(-1, 3).astype(np.float32)


def _near(x: Floats, y: Floats, most: float) -> float:
    """Share of the pixels [N, 3] that hardly differ."""
    return float((np.square(x - y).max(1) <= max(1.0, most)).mean())


def _lines(x: Floats, y: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gains, in 1 / 256, and offsets [3] of the lines through most points [N, 3] of a channel."""
    gain = np.ones(3)
    offset = np.median(y - x, 0).astype(np.float64)
    for distance in OUTLIERS:
        near = np.abs(y - gain * x - offset) <= distance
        count = np.maximum(near.sum(0), 1)
        middle, level = (x * near).sum(0) / count, (y * near).sum(0) / count
        apart = (x - middle) * near
        spread = (apart * (x - middle)).sum(0) / count
        slope = (apart * y).sum(0) / count / np.maximum(spread, FLAT)
        slope = np.where(spread > FLAT, slope, 1.0)
        found = near.any(0)
        gain = np.where(found, np.clip(np.rint(slope * ONE), -MOST_TONE, MOST_TONE) / ONE, gain)
        offset = np.where(found, level - gain * middle, offset)
    return np.rint(gain * ONE), np.clip(np.rint(offset), -MOST_TONE, MOST_TONE)


def toned(pixels: Pixels, tones: Tones) -> Pixels:
    """Pixels uint8 [..., 3] with other tones; a new array."""
    tables = tones.tables
    return np.stack([tables[channel][pixels[..., channel]] for channel in range(3)], -1)


def _film(before: Pixels, after: Pixels) -> Shift:
    """How a photograph moved (phase correlation, Kuglin and Hines 1975); (0, 0) for drawings."""
    step = max(1, before.shape[0] * before.shape[1] // SAMPLES)
    some = after.reshape(-1, 3)[::step].astype(np.uint32)
    if len(np.unique(some[:, 0] << 16 | some[:, 1] << 8 | some[:, 2])) < LEAST_COLOURS:
        return 0, 0
    one, other = (np.fft.rfft2(_windowed(pixels)) for pixels in (before, after))
    cross = one * np.conj(other)
    peaks = np.fft.irfft2(cross / np.maximum(np.abs(cross), 1e-6), before.shape[:2])
    dy, dx = np.unravel_index(int(peaks.argmax()), peaks.shape)
    height, width = before.shape[:2]
    shift = (int(dx) - width * (int(dx) > width // 2), int(dy) - height * (int(dy) > height // 2))
    return shift if max(map(abs, shift)) <= MOST_SHIFT else (0, 0)


def _windowed(pixels: Pixels) -> Floats:
    """Green, fading out towards the edges, so that these do not count as content."""
    green = pixels[..., 1].astype(np.float32)
    window = np.hanning(green.shape[0])[:, None] * np.hanning(green.shape[1])
    return np.asarray((green - green.mean()) * window, np.float32)
