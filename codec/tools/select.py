"""The tool for a picture: what was asked for, else what suits the picture."""

from __future__ import annotations

from codec.io.images import Picture
from codec.tools import choice
from codec.tools.choice import Choice
from codec.tools.registry import LEARNED

AUTO = "auto"
SCREEN = "screen"


def choice_for(picture: Picture, tool: str, lossless: bool, learned_only: bool) -> Choice:
    """Choose the coding tool of a picture.

    Args:
        picture: the picture.
        tool: the name of a tool; `auto`; or `screen` for the best tool but the learned one.
        lossless: the same pixels are asked for.
        learned_only: an option is set that only the learned tool has.

    Returns:
        The tool and the reason.
    """
    if tool not in (AUTO, SCREEN):
        return Choice(tool, choice.ASKED_FOR)
    if learned_only and not lossless and tool == AUTO:
        return Choice(LEARNED, choice.ONLY_LEARNED)
    return Choice(LEARNED, choice.PHOTOGRAPH)
