"""The tools for a picture: what was asked for, else what suits the picture."""

from __future__ import annotations

from codec.io import images
from codec.tools import choice
from codec.tools.choice import Choice
from codec.tools.choose import choose
from codec.tools.registry import LEARNED

AUTO = "auto"
SCREEN = "screen"
SCREEN_TOOLS = ("palette", "av1")


def choice_for(picture: images.Picture, tool: str, lossless: bool, learned_only: bool) -> Choice:
    """Choose the coding tools of a picture.

    Args:
        picture: the picture.
        tool: the name of a tool; `auto`; or `screen` for the best tool but the learned one.
        lossless: the same pixels are asked for.
        learned_only: an option is set that only the learned tool has.

    Returns:
        The tools to try and the reason.
    """
    if lossless:
        return Choice(("palette",), choice.EXACT)
    if tool == SCREEN:
        return Choice(SCREEN_TOOLS, choice.ASKED_FOR)
    if tool != AUTO:
        return Choice((tool,), choice.ASKED_FOR)
    if learned_only:
        return Choice((LEARNED,), choice.ONLY_LEARNED)
    suited = choose(images.shown(picture))
    return Choice(suited.tools, choice.BY_KIND[suited.kind], suited.kind)
