"""Which coding tool suits a picture, from its pixels alone, in a few milliseconds.

::

    pixels -> features -> small? graphics? scan of text? else a photograph -> tools to try, and why

The weights below were fitted by `python -m training.fit.choice`: a logistic regression that
tells train/screens, train/charts_clean and train/text/charts from train/photos, also after JPEG.
A picture's folder alone does not make it an example of a photograph. The AV1 tool and the default
weights coded 105 pictures of train/photos, including those that look most like graphics. Pictures
that AV1 coded in fewer bytes for the same error of DeiT-Tiny's last tokens were left out
(benchmarks/results/av1_against_learned.json).

Scans of text go to AV1. Ten receipts of train/text keep as many words for Tesseract in 17 % fewer
bytes (8 to 26 %) than with the learned tool, and for RapidOCR, a neural reader, in 14 % fewer
(9 to 25 %).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from codec.tools.choosing.features import Features, features

Pixels = NDArray[np.uint8]
Tool = Literal["learned", "av1", "palette"]
Kind = Literal["small picture", "graphics", "text scan", "photograph"]

# Pixels. The learned transform has at most 16 latent positions for a picture of this size.
SMALL = 64 * 64
WEIGHTS = {
    "flat": 3.82,
    "root of flat": 2.9,
    "ground": 1.65,
    "flat times ground": -0.47,
    "drawn": 8.18,
    "sharp": 1.29,
    "soft": -1.59,
    "top16": 1.61,
    "top64": 2.26,
    "level": 5.21,
    "colour": 0.88,
}
BIAS = -10.71
MOST_COLOUR = 60.0
THRESHOLD = 0.0
# Graphics: a window in front of a photograph, with enough flat areas and drawn edges.
WINDOW_FLAT = 0.45
WINDOW_DRAWN = 0.08
WINDOW_SHARP = 0.2
# Graphics: a picture of at most 256 colours that is neither grey nor a dithered photograph.
INDEXED_TOP256 = 0.999
INDEXED_COLOUR = 3.0
INDEXED_FLAT = 0.2
# Graphics: lines and marks on white, such as the JPEG of a dense chart.
WHITE_LEVEL = 235.0
WHITE = 0.97
# Graphics for which a palette is tried. Of 50 others of train/screens and train/charts_clean, only
# one is better as a palette, by 5 % of its cost.
PALETTE_DRAWN = 0.7
PALETTE_SOFT = 0.2
# Scans on even paper: most receipts of train/text.
PAPER = 0.92
INK = 0.09
PAPER_COLOUR = 16.0
PAPER_LEVEL = 200.0
MOST_DRAWN_SCAN = 0.3
# Scans on shaded paper: most of the other receipts, and no photograph of train/photos.
SHADED_PAPER = 0.4
SHADED_LEVEL = 140.0
SHADED_COLOUR = 7.5
SHADED_SHARP = 0.25
SHADED_SOFT = 0.25
SHADED_DRAWN = 0.04
SHADED_FLAT = 0.25


@dataclass(frozen=True)
class Choice:
    """What suits a picture.

    Attributes:
        kind: what the picture looks like.
        tools: the tools to try; one where the features decide.
        reason: why, in one short sentence.
    """

    kind: Kind
    tools: tuple[Tool, ...]
    reason: str


def choose(pixels: Pixels) -> Choice:
    """The tools for a picture uint8 [H, W, 3]."""
    values = features(pixels)
    height, width = pixels.shape[:2]
    screen_tools: tuple[Tool, ...] = ("av1",)
    if height * width <= SMALL:
        reason = f"{width}x{height} pixels are too few for the learned transform"
        return Choice("small picture", ("av1", "palette"), reason)
    if values.drawn >= PALETTE_DRAWN and values.soft <= PALETTE_SOFT:
        screen_tools = ("av1", "palette")
    if _is_scan(values):
        reason = f"text on even paper: {values.paper:.0%} of the blocks reach the paper's level"
        return Choice("text scan", ("av1",), reason)
    if score(values) > THRESHOLD or _is_drawn(values):
        return Choice("graphics", screen_tools, f"graphics: {_blocks(values)}")
    if _is_shaded_scan(values):
        reason = f"text on shaded paper: {values.ink:.0%} of the blocks show ink"
        return Choice("text scan", ("av1",), reason)
    return Choice("photograph", ("learned",), f"a photograph: {_blocks(values)}")


def score(values: Features) -> float:
    """How much a picture looks like graphics, in nats; 0 is even odds in the training set."""
    return float(np.dot(list(terms(values).values()), list(WEIGHTS.values())) + BIAS)


def terms(values: Features) -> dict[str, float]:
    """The terms that WEIGHTS multiplies, in its order."""
    return {
        "flat": values.flat,
        "root of flat": values.flat**0.5,
        "ground": values.ground,
        "flat times ground": values.flat * values.ground,
        "drawn": values.drawn,
        "sharp": values.sharp,
        "soft": values.soft,
        "top16": values.top16,
        "top64": values.top64,
        "level": values.level / 255,
        "colour": min(values.colour, MOST_COLOUR) / MOST_COLOUR,
    }


def _blocks(values: Features) -> str:
    return f"{values.flat:.0%} of the blocks are flat, {values.drawn:.0%} of the rest are drawn"


def _is_drawn(values: Features) -> bool:
    """Graphics that the score misses."""
    window = values.flat >= WINDOW_FLAT and values.drawn >= WINDOW_DRAWN
    window = window and values.sharp >= WINDOW_SHARP
    indexed = values.top256 >= INDEXED_TOP256 and values.colour >= INDEXED_COLOUR
    indexed = indexed and values.flat >= INDEXED_FLAT
    white = values.paper_level >= WHITE_LEVEL and values.paper >= WHITE and values.ink >= INK
    return window or indexed or white


def _is_scan(values: Features) -> bool:
    paper = values.paper >= PAPER and values.paper_level >= PAPER_LEVEL
    noisy = values.drawn < MOST_DRAWN_SCAN
    return paper and noisy and values.ink >= INK and values.colour < PAPER_COLOUR


def _is_shaded_scan(values: Features) -> bool:
    paper = values.paper >= SHADED_PAPER and values.paper_level >= PAPER_LEVEL
    light = values.level > SHADED_LEVEL and values.colour < SHADED_COLOUR
    strokes = values.sharp >= SHADED_SHARP and values.soft >= SHADED_SOFT
    noisy = values.drawn <= SHADED_DRAWN and values.flat < SHADED_FLAT
    return paper and light and strokes and noisy
