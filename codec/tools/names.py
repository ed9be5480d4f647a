"""Names of the coding tools, and their numbers in a file's header; numbers are never reused."""

from __future__ import annotations

LEARNED = "learned"
AV1 = "av1"
PALETTE = "palette"
MIXED = "mixed"
CHANGES = "changes"
NUMBERS = {LEARNED: 0, AV1: 1, PALETTE: 2, MIXED: 3, CHANGES: 4}
NAMES = {number: name for name, number in NUMBERS.items()}
# Tools that return the same pixels at the best quality.
LOSSLESS = (PALETTE,)
BEST_QUALITY = 100


def is_lossless(name: str, quality: float) -> bool:
    """Whether a tool at this quality returns the same pixels."""
    return name in LOSSLESS and quality >= BEST_QUALITY
