"""The tools for a picture: those asked for, otherwise those that suit the picture."""

from __future__ import annotations

from codec.io import images
from codec.tools.choosing import reasons
from codec.tools.choosing.content import choose
from codec.tools.choosing.reasons import Choice
from codec.tools.names import LEARNED

AUTO = "auto"
SCREEN = "screen"
MIXED = "mixed"
# The others are compared with the first one.
SCREEN_TOOLS = ("av1", "palette")


def choice_for(picture: images.Picture, tool: str, lossless: bool, learned_only: bool) -> Choice:
    """Choose the coding tools of a picture.

    Args:
        picture: the picture.
        tool: the name of a tool; `auto`; `screen` for the best tool without weights; or `mixed` for
            the same with photographs in the picture coded by the learned tool.
        lossless: the same pixels are asked for.
        learned_only: an option is set that only the learned tool has.

    Returns:
        The tools to try and the reason.
    """
    if lossless:
        return Choice(("palette",), reasons.EXACT)
    if tool in (SCREEN, MIXED):
        return Choice(SCREEN_TOOLS, reasons.ASKED_FOR, mixes=tool == MIXED)
    if tool != AUTO:
        return Choice((tool,), reasons.ASKED_FOR)
    if learned_only:
        return Choice((LEARNED,), reasons.ONLY_LEARNED)
    suited = choose(images.shown(picture))
    code = reasons.BY_KIND[suited.kind]
    if suited.kind == "photograph":
        return Choice(suited.tools, code)
    return Choice(suited.tools, code, suited.kind, mixes=suited.kind == "graphics")
