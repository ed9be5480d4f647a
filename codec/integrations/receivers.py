"""How hosted models treat a picture: the size that they look at, and its cost in tokens.

The rules are those that the providers published in November 2026, for the picture alone. Some
models multiply the cost by a factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from codec.errors import BadArgument

Size = tuple[int, int]  # width, height
ReceiverName = Literal["claude", "openai", "gemini"]

# Claude: one token for each 28x28 pixels; larger pictures are made smaller first.
CLAUDE_PATCH = 28
CLAUDE_SIDE = 1568
CLAUDE_TOKENS = 1568
# OpenAI: one token for each 32x32 pixels, at most 1536.
OPENAI_PATCH = 32
OPENAI_TOKENS = 1536
# Gemini: 258 tokens for a picture up to 384x384, else for each tile of 768x768.
GEMINI_SMALL = 384
GEMINI_TILE = 768
GEMINI_TILE_TOKENS = 258
GEMINI_SIDE = 3072


@dataclass(frozen=True)
class Receiver:
    """A hosted model.

    Attributes:
        fitted: from a picture's size to the size that the model looks at, never larger.
        tokens: what a picture of a fitted size costs.
    """

    fitted: Callable[[Size], Size]
    tokens: Callable[[Size], int]


def within(size: Size, box: Size) -> Size:
    """The largest size of the same shape inside a box; never larger than the picture."""
    scale = min(1.0, box[0] / size[0], box[1] / size[1])
    return scaled(size, scale)


def scaled(size: Size, scale: float) -> Size:
    """A size times a factor, in whole pixels, at least one."""
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def patches(size: Size, side: int) -> int:
    """How many squares of a side cover a picture."""
    return math.ceil(size[0] / side) * math.ceil(size[1] / side)


def _claude_fitted(size: Size) -> Size:
    """The largest size of the same shape that keeps both of Claude's limits."""
    fitted = within(size, (CLAUDE_SIDE, CLAUDE_SIDE))
    long = max(fitted)
    while patches(fitted, CLAUDE_PATCH) > CLAUDE_TOKENS:
        long -= 1
        fitted = scaled(size, long / max(size))
    return fitted


def _openai_fitted(size: Size) -> Size:
    """Shrink until 1536 patches cover the picture, then until a side has whole patches."""
    if patches(size, OPENAI_PATCH) <= OPENAI_TOKENS:
        return size
    scale = math.sqrt(OPENAI_TOKENS * OPENAI_PATCH**2 / (size[0] * size[1]))
    across = [side * scale / OPENAI_PATCH for side in size]
    scale *= min(max(1, math.floor(count)) / count for count in across)
    return max(1, math.floor(size[0] * scale)), max(1, math.floor(size[1] * scale))


def _gemini_tokens(size: Size) -> int:
    if max(size) <= GEMINI_SMALL:
        return GEMINI_TILE_TOKENS
    return GEMINI_TILE_TOKENS * patches(size, GEMINI_TILE)


RECEIVERS: dict[str, Receiver] = {
    "claude": Receiver(_claude_fitted, lambda size: patches(size, CLAUDE_PATCH)),
    "openai": Receiver(_openai_fitted, lambda size: patches(size, OPENAI_PATCH)),
    "gemini": Receiver(lambda size: within(size, (GEMINI_SIDE, GEMINI_SIDE)), _gemini_tokens),
}


def fitted(size: Size, fit: ReceiverName | Size) -> Size:
    """The size that a picture is sent in: what a model looks at, or the largest in a box.

    Raises:
        BadArgument: as `receiver` does.
    """
    hosted = receiver(fit)
    return within(size, fit) if hosted is None else hosted.fitted(size)  # type: ignore[arg-type]


def receiver(fit: ReceiverName | Size) -> Receiver | None:
    """A hosted model by name, None for a box of pixels.

    Raises:
        BadArgument: the name is unknown, or the box is not two positive numbers.
    """
    if isinstance(fit, str):
        if fit not in RECEIVERS:
            raise BadArgument(f"fit must be {', '.join(RECEIVERS)} or (width, height), not {fit!r}")
        return RECEIVERS[fit]
    try:
        width, height = fit
        sound = int(width) >= 1 and int(height) >= 1
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise BadArgument(f"fit must be {', '.join(RECEIVERS)} or (width, height), not {fit!r}")
    return None
