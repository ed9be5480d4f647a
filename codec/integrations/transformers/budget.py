"""Fewer image tokens for a language model: placeholders and image features are cut together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from codec.errors import BadArgument
from codec.tokens.selection import Selection

# Options of `generate` that count the prompt.
LENGTHS = ("max_length", "min_length")


def kept(features: Tensor, chosen: Sequence[Selection]) -> Tensor:
    """Keep the prefix and the chosen ones of each picture's tokens.

    Args:
        features: [pictures, prefix + rows * columns, width].
        chosen: as many positions for each picture; repeated where `generate` repeats pictures.

    Returns:
        [pictures, prefix + chosen, width].
    """
    prefix = features.shape[1] - len(chosen[0].owner)
    places = torch.tensor(
        [
            [*range(prefix), *(prefix + selection.indexes)]
            for selection in _over(chosen, len(features))
        ],
        device=features.device,
    )
    return features.gather(1, places[..., None].expand(-1, -1, features.shape[2]))


def shorten(
    inputs: dict[str, Any], chosen: Sequence[Selection], image_token: int
) -> dict[str, Any]:
    """Remove the placeholders of tokens that are left out.

    Args:
        inputs: of a model; input_ids [B, N] and every other tensor of that shape are shortened,
            and limits of the whole length with them.
        chosen: what is kept of each picture, in the order of the placeholders.
        image_token: the placeholder.

    Returns:
        New inputs, padded on the left: all rows end together, as generation requires.

    Raises:
        BadArgument: placeholders and pictures do not fit.
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
            # The label that PyTorch's cross-entropy ignores.
            blank = -100 if name == "labels" else 0
            rows = [
                F.pad(v[k], (longest - int(k.sum()), 0), value=blank) for v, k in zip(value, keep)
            ]
            inputs[name] = torch.stack(rows)
    for name in LENGTHS:
        if inputs.get(name) is not None:
            inputs[name] -= ids.shape[1] - longest
    return inputs


def with_prompt(output: Any, prompt: Tensor, shortened: Tensor) -> Any:
    """Replace the shortened prompt in the result of `generate` by the original one.

    So `out[:, input_ids.shape[1]:]` is the answer, as with other models.

    Args:
        output: token ids [B * answers, shortened + new], or an output with `sequences`.
        prompt: ids [B, N].
        shortened: ids [B, n], what the model saw.

    Returns:
        The same kind, ids [B * answers, N + new].
    """
    if not isinstance(output, Tensor):
        output.sequences = with_prompt(output.sequences, prompt, shortened)
        return output
    answers = output[:, shortened.shape[1] :]
    copies = len(output) // len(prompt)
    return torch.cat([prompt.to(output.device).repeat_interleave(copies, 0), answers], 1)


def _run_length(places: Tensor, patches: int) -> int:
    """How many placeholders the first picture has: its patches, and a class token if kept."""
    gaps = (places.diff() != 1).nonzero()[:, 0]
    together = int(gaps[0]) + 1 if len(gaps) else len(places)
    return next(
        (length for length in (patches, patches + 1) if length and together % length == 0), together
    )


def _over(chosen: Sequence[Selection], images: int) -> list[Selection]:
    """One selection for each image, repeated if `generate` makes several answers a prompt."""
    return [selection for selection in chosen for _ in range(images // len(chosen))]
