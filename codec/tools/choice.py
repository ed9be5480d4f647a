"""Which tool codes a picture, and why."""

from __future__ import annotations

from dataclasses import dataclass

# By the number in a file's header. Numbers are never reused.
REASONS = (
    "not recorded",
    "asked for",
    "exact pixels were asked for",
    "it looks like a photograph",
    "it looks like a screen or drawing with few colours",
    "it looks like a screen with many colours",
    "it looks like a scan of text",
    "it has photographs on a page",
    "of the tools tried it loses least for its bytes",
    "an option that only the learned tool has",
)
NOT_RECORDED = 0
ASKED_FOR = 1
EXACT = 2
PHOTOGRAPH = 3
FEW_COLOURS = 4
MANY_COLOURS = 5
TEXT_SCAN = 6
PAGE_WITH_PHOTOGRAPHS = 7
BEST_OF_TRIED = 8
ONLY_LEARNED = 9


@dataclass(frozen=True)
class Choice:
    """A coding tool and why it was chosen.

    Attributes:
        tool: its name.
        code: the number of the reason, as in a file's header.
    """

    tool: str
    code: int

    @property
    def reason(self) -> str:
        return reason_of(self.code)


def reason_of(code: int) -> str:
    """The reason of a number in a file's header; newer numbers are 'not recorded'."""
    return REASONS[code] if code < len(REASONS) else REASONS[NOT_RECORDED]
