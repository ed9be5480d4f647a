"""Fewer image tokens for a language model: its placeholders and its image features, cut alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.errors import BadArgument
from codec.tokens.selection import Selection


def keep_features(features: Sequence[Tensor], chosen: Sequence[Selection]) -> list[Tensor]:
    """Of each image's features [prefix + rows * columns, width], the prefix and the chosen ones."""
    kept = []
    for image, selection in zip(features, _over(chosen, len(features))):
        prefix = len(image) - len(selection.owner)
        places = torch.cat([torch.arange(prefix), torch.from_numpy(selection.indexes) + prefix])
        kept.append(image[places.to(image.device)])
    return kept


def shorten(
    inputs: dict[str, Any], chosen: Sequence[Selection], image_token: int
) -> dict[str, Any]:
    """The same inputs with the placeholders of tokens that are left out removed, in input_ids [B, N] and all that is as long.

    Padding goes to the left: rows end together, as generation wants it. Raises BadArgument where placeholders and images
    do not fit.
    """
    ids: Tensor = inputs["input_ids"]
    keep = torch.ones_like(ids, dtype=torch.bool)
    images = iter(chosen)
    for row in range(len(ids)):
        places = (ids[row] == image_token).nonzero()[:, 0]
        while len(places):
            selection = next(images, None)
            patches = 0 if selection is None else len(selection.owner)
            run = places[: _run_length(places, patches)]
            if selection is None or len(run) < patches:
                raise BadArgument("the text has other image placeholders than the pictures need")
            kept = torch.from_numpy(selection.indexes) + (len(run) - patches)
            dropped = torch.ones(len(run), dtype=torch.bool)
            dropped[: len(run) - patches] = False
            dropped[kept] = False
            keep[row, run[dropped.to(run.device)]] = False
            places = places[len(run) :]
    inputs = dict(inputs)
    mask = inputs.setdefault("attention_mask", torch.ones_like(ids))
    keep &= mask.bool()
    longest = int(keep.sum(1).max())
    for name, value in inputs.items():
        if isinstance(value, Tensor) and value.shape == ids.shape:
            blank = -100 if name == "labels" else 0
            rows = [
                F.pad(v[k], (longest - int(k.sum()), 0), value=blank) for v, k in zip(value, keep)
            ]
            inputs[name] = torch.stack(rows)
    return inputs


def _run_length(places: Tensor, patches: int) -> int:
    """How many placeholders the first image has: its patches, and one more where the tower's class token is kept."""
    gaps = (places.diff() != 1).nonzero()[:, 0]
    together = int(gaps[0]) + 1 if len(gaps) else len(places)
    return next(
        (length for length in (patches, patches + 1) if length and together % length == 0), together
    )


def _over(chosen: Sequence[Selection], images: int) -> list[Selection]:
    """One for each image, repeated where generation runs several answers a prompt."""
    return [selection for selection in chosen for _ in range(images // len(chosen))]
