"""Which tokens of a tower are new after a message of a stream, so that others can be reused.

::

    picture before -> processor -> pixel values --+-> patches that differ -> their tokens
    picture now ----> processor -> pixel values --+

The processor decides what a patch sees: it may resize, crop, pad or tile. So its results are
compared, patch by patch. The answer is exact for the tower's input. In the tower's layers, tokens
attend to each other, so a feature that is reused there is an approximation.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codec.errors import BadArgument
from codec.io import images
from codec.stream import Frame


def changed_tokens(
    processor: Any, frame: Frame, patch_size: int | None = None, **options: Any
) -> NDArray[np.int64]:
    """Find the tokens whose patches changed with a frame.

    Args:
        processor: a model's processor or image processor. Towers that see squares (LLaVA, and each
            view of LLaVA-NeXT) and towers that see as many patches as the picture needs (Qwen2-VL
            and later) are known.
        frame: of codec.StreamDecoder.
        patch_size: side of a patch in pixels, where the processor does not say it.
        options: what the image processor is called with.

    Returns:
        Indexes in rising order. LLaVA: of patches, row by row, view after view, without the class
        token. Qwen: of the language model's tokens, each of which is a square of merged patches.
        All of them where there is no picture before, or one of another size.

    Raises:
        BadArgument: the size of a patch is not known, or the processor is of another kind.
    """
    processed = _Processed(processor, patch_size, options)
    now = processed.patches(frame.content)
    if frame.before is None:
        return np.arange(len(now))
    before = processed.patches(frame.before)
    if before.shape != now.shape:
        return np.arange(len(now))
    differ = (before != now).flatten(1).any(1)
    return differ.nonzero()[:, 0].numpy()


class _Processed:
    """A processor's pixel values as one row for each token."""

    def __init__(self, processor: Any, patch_size: int | None, options: dict[str, Any]) -> None:
        self.images = getattr(processor, "image_processor", processor)
        self.size = patch_size or getattr(processor, "patch_size", None)
        self.options = {"return_tensors": "pt"} | options

    def patches(self, picture: images.Picture) -> Tensor:
        """[tokens, values]."""
        features = self.images([np.array(images.shown(picture))], **self.options)
        values: Tensor = torch.as_tensor(features["pixel_values"])
        if "image_grid_thw" in features:
            merged = int(getattr(self.images, "merge_size", 1)) ** 2
            return values.reshape(len(values) // merged, -1)
        if values.ndim < 4 or values.shape[-3] != 3:
            raise BadArgument(f"pixel values of shape {list(values.shape)} are not supported")
        size = self._patch_size(values)
        rows, columns = values.shape[-2] // size, values.shape[-1] // size
        # A tower leaves out what does not fill a patch.
        whole = values[..., : rows * size, : columns * size].reshape(
            -1, 3, rows, size, columns, size
        )
        return whole.permute(0, 2, 4, 1, 3, 5).reshape(-1, 3 * size * size)

    def _patch_size(self, values: Tensor) -> int:
        size = self.size
        if not isinstance(size, int) or not 1 <= size <= min(values.shape[-2:]):
            raise BadArgument("the processor has no patch size; give patch_size")
        return size
