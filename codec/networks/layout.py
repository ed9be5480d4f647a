"""Arrays as the rest of the codec has them, [rows, columns, channels], and batches as layers take them."""

from __future__ import annotations

from torch import Tensor


def as_batch(array: Tensor) -> Tensor:
    """[h, w, C] -> channels-last [1, C, h, w], the same memory.

    The batch comes before the channels are moved: the other way round layers do not take it for channels-last, and copy it.
    """
    return array[None].permute(0, 3, 1, 2)


def as_array(batch: Tensor) -> Tensor:
    """The inverse; of a larger batch, its first."""
    return batch[0].permute(1, 2, 0)
