"""The interface of a codec under test: whole files from pixels, and pixels from files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from codec.evaluation.distortion import Pixels

Encode = Callable[[Pixels, float], bytes]
Decode = Callable[[bytes], Pixels]


@dataclass(frozen=True)
class CodecUnderTest:
    """A codec with fixed settings, of which only the quality varies.

    Attributes:
        name: its title in tables and plots.
        identity: everything that its files depend on: versions of libraries, settings, weights.
            Measured rows are kept under it.
        qualities: the qualities that `cotam eval` measures, coarse to fine.
        encode: from pixels [H, W, 3] and a quality to a whole file.
        decode: from a file to pixels [H, W, 3].
        highest: the largest quality that a search for a file size tries.
        continuous: whether every quality between the first and `highest` is meaningful, as for
            CoTAM; others are compared at their listed qualities only.
        parameters: of its networks; None if it has none or they were not counted.
        trained: whether its pictures are meaningful; codecs with random weights get no scores.
    """

    name: str
    identity: str
    qualities: tuple[float, ...]
    encode: Encode
    decode: Decode
    highest: int
    continuous: bool = False
    parameters: int | None = None
    trained: bool = True

    def at_size(self, pixels: Pixels, size: int) -> bytes:
        """The best file of at most a given size.

        Args:
            pixels: uint8 [H, W, 3].
            size: bytes.

        Returns:
            The largest file that is not larger than `size`; the smallest file where none fits.
        """
        lowest = int(min(self.qualities))
        return largest_below(
            lambda quality: self.encode(pixels, float(quality)), lowest, self.highest, size
        )

    def nearest_quality(self, pixels: Pixels, size: int, qualities: tuple[float, ...]) -> float:
        """The quality whose file is nearest to a size.

        Args:
            pixels: uint8 [H, W, 3].
            size: bytes.
            qualities: those to choose from.

        Returns:
            One of `qualities`.
        """
        return min(qualities, key=lambda quality: abs(len(self.encode(pixels, quality)) - size))


def largest_below(encode: Callable[[int], bytes], low: int, high: int, size: int) -> bytes:
    """Find the largest file within a size by bisection.

    Args:
        encode: from a quality to a file; a greater quality gives a larger file.
        low: the least quality.
        high: the greatest quality.
        size: bytes.

    Returns:
        The file of the greatest quality that is not larger than `size`, else the one of `low`.
    """
    best = encode(low)
    while low < high:
        middle = (low + high + 1) // 2
        data = encode(middle)
        if len(data) <= size:
            best = data
            low = middle
        else:
            high = middle - 1
    return best
