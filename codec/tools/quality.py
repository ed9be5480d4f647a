"""The AV1 tool's index for a quality of 0..100.

The AV1 tool cannot aim at the learned tool's token errors, because they are too large. With the
learned tool, DeiT-Tiny's last tokens on native tiles lose 0.92 of their square at quality 0, 0.41
at 50 and 0.15 at 100 (20 pictures of train/photos, default weights). Even the coarsest AV1 index
has an error of only 0.25 on graphics (10 of train/screens, 4 of train/charts_clean), and already
keeps only 68 % of the words that Tesseract reads. So graphics are coded with a quarter of the error
that a photograph has at the same quality, and scans with the share of words that the learned tool
keeps of them at the same quality (Tesseract, 10 receipts of train/text).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

Content = Literal["graphics", "text scan", "small picture"]
# (quality, AV1 index). Token error of photographs by the learned tool / of graphics by this one:
# 25: 0.65 / 0.15, 50: 0.41 / 0.098, 75: 0.24 / 0.06, 90: 0.17 / 0.037.
GRAPHICS = ((0, 0), (25, 4), (50, 10), (75, 17), (90, 24), (100, 63))
# Share of words by the learned tool and by the AV1 tool:
# 8: 0.14, 25: 0.36, 45: 0.53, 65: 0.63 at these indices; beyond 65 the line is extrapolated.
TEXT_SCAN = ((0, 0), (8, 3), (25, 11), (45, 18), (65, 25), (90, 40), (100, 63))
# Icons are a few hundred bytes at any quality: from 35 dB at quality 60.
SMALL = ((0, 20), (60, 50), (100, 63))
TABLES: dict[str, tuple[tuple[int, int], ...]] = {
    "graphics": GRAPHICS,
    "text scan": TEXT_SCAN,
    "small picture": SMALL,
}


def av1_index(quality: float, content: Content = "graphics") -> int:
    """The AV1 tool's quality index, 0..63, for a quality of 0..100."""
    qualities, indices = zip(*TABLES[content])
    return round(float(np.interp(quality, qualities, indices)))
