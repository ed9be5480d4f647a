"""Which tools code a picture, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codec.tools.quality import Content

# Reasons by their number in a file's header. Numbers are never reused.
REASONS = (
    "not recorded",
    "asked for",
    "exact pixels were asked for",
    "it looks like a photograph",
    "it looks like a screen, a chart or a drawing",
    "it looks like a scan of text",
    "it is too small for the learned transform",
    "an option that only the learned tool has was given",
    "it holds photographs among graphics",
    "it holds what changed since another picture",
)
NOT_RECORDED = 0
ASKED_FOR = 1
EXACT = 2
PHOTOGRAPH = 3
GRAPHICS = 4
TEXT_SCAN = 5
SMALL = 6
ONLY_LEARNED = 7
MIXED = 8
CHANGES = 9
BY_KIND = {
    "photograph": PHOTOGRAPH,
    "graphics": GRAPHICS,
    "text scan": TEXT_SCAN,
    "small picture": SMALL,
}


@dataclass(frozen=True)
class Choice:
    """The coding tools to try, and why.

    Attributes:
        tools: names; of several, the one that loses least for its bytes is kept.
        code: the number of the reason, as in a file's header.
        content: what a quality means for the picture (tools.quality).
        mixes: whether photographs within the picture are coded by the learned tool.
    """

    tools: tuple[str, ...]
    code: int
    content: Content = "graphics"
    mixes: bool = False

    @property
    def reason(self) -> str:
        return reason_of(self.code)


def reason_of(code: int) -> str:
    """The reason of a number in a file's header; newer numbers are 'not recorded'."""
    return REASONS[code] if code < len(REASONS) else REASONS[NOT_RECORDED]
