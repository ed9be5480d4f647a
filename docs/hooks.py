"""Links from the pages to files outside docs/, which the site does not contain.

`[words](../benchmarks/README.md#part)` becomes "words (`benchmarks/README.md`)".
"""

from __future__ import annotations

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./([^)#]+)[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Name the file in place of a link that would lead nowhere."""

    def in_words(link: re.Match[str]) -> str:
        words, path = link.groups()
        return f"`{path}`" if words in path else f"{words} (`{path}`)"

    return _OUTSIDE.sub(in_words, markdown)
