"""Where the views that a processor makes for a vision tower lie in the picture."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

# Pixels at a border of the picture, where a bicubic filter distorts the coordinates.
MARGIN = 2
# A pixel whose third channel is above this shows only the picture and no padding.
INSIDE = 0.999


def views_of(processor: Any, height: int, width: int, **options: Any) -> Tensor:
    """Find where each view of a picture lies in it.

    The processor is given a picture of coordinates instead of colours: how it crops, pads,
    scales or tiles can be read off the result.

    Args:
        processor: an image processor whose pixel values are [..., 3, h, w].
        height: of the picture, in pixels.
        width: of the picture, in pixels.
        options: what the processor is called with.

    Returns:
        [views, 4]: left, top, right, bottom in 0..1 over the picture, beyond it where a view is
        padded, NaN where a view sees nothing of it.
    """
    x = ((torch.arange(width, dtype=torch.float32) + 0.5) / width).expand(height, width)
    y = ((torch.arange(height, dtype=torch.float32) + 0.5) / height)[:, None].expand(height, width)
    coordinates = torch.stack([x, y, torch.ones_like(x)])
    plain = {"do_rescale": False, "do_normalize": False, "return_tensors": "pt"}
    views = processor([coordinates], **(options | plain))["pixel_values"]
    return torch.stack([_box(view) for view in views.reshape(-1, *views.shape[-3:]).float()])


def _box(view: Tensor) -> Tensor:
    inside = view[2] > INSIDE
    columns = inside.any(0).nonzero()[:, 0]
    rows = inside.any(1).nonzero()[:, 0]
    if len(columns) < 2 or len(rows) < 2:
        return torch.full((4,), float("nan"))
    left, right = _line(
        columns, (view[0] * inside).sum(0)[columns] / inside.sum(0)[columns], view.shape[2]
    )
    top, bottom = _line(rows, (view[1] * inside).sum(1)[rows] / inside.sum(1)[rows], view.shape[1])
    return torch.stack([left, top, right, bottom])


def _line(places: Tensor, values: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Coordinates at both ends of an axis, by a straight line through its inner pixels."""
    if len(places) > 4 * MARGIN:
        places = places[MARGIN:-MARGIN]
        values = values[MARGIN:-MARGIN]
    at = places.double() + 0.5
    slope = ((at - at.mean()) * (values - values.mean())).sum() / (at - at.mean()).square().sum()
    start = values.mean() - slope * at.mean()
    return start.float(), (start + slope * size).float()
