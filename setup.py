"""Builds the one package `codec`: its modules, the shipped weights inside it, and a description.

::

    codec/        ->  codec/
    checkpoints/  ->  codec/checkpoints/   (codec/weights/shipped.py looks there)
    README.md     ->  the long description, with links that work without the repository
    docs/cotam.1  ->  share/man/man1/      (`man cotam`, beside the command's bin/)

Everything else is in setup.cfg.
"""

from __future__ import annotations

import re
from pathlib import Path

from setuptools import find_packages, setup

# The default weights alone; checkpoints/setup.py packages all others.
WEIGHTS = {
    "codec.checkpoints": "checkpoints",
    "codec.checkpoints.features": "checkpoints/features",
    "codec.checkpoints.guides": "checkpoints/guides",
}
_HTML_PICTURE = re.compile(r"<img\b[^>]*>", re.IGNORECASE)
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
_ABSOLUTE = re.compile(r"https?://|mailto:")


def portable(markdown: str) -> str:
    """A README whose relative links and pictures became words.

    A package index shows the description without the repository's files, and the project has no
    public address that relative links could be completed with.

    Args:
        markdown: The README.

    Returns:
        The text with `[words](docs/page.md#part)` as "words (`docs/page.md`)", `[words](#part)` as
        "words", and pictures as their alternative text. Absolute links stay.
    """

    def in_words(link: re.Match[str]) -> str:
        picture, words, target = link.groups()
        if _ABSOLUTE.match(target):
            return link[0]
        path = target.partition("#")[0]
        words = _LINK.sub(in_words, words)
        if picture:
            return f"*{words} (`{path}`)*"
        return f"{words} (`{path}`)" if path and path not in words else words

    def html_in_words(tag: re.Match[str]) -> str:
        if re.search(r"src=[\"']https?://", tag[0]):
            return tag[0]
        words = re.search(r"alt=[\"']([^\"']*)", tag[0])
        return f"<em>{words[1]}</em>" if words else ""

    return _HTML_PICTURE.sub(html_in_words, _LINK.sub(in_words, markdown))


if __name__ == "__main__":
    setup(
        packages=[*find_packages(include=["codec", "codec.*"]), *WEIGHTS],
        package_dir=WEIGHTS,
        data_files=[("share/man/man1", ["docs/cotam.1"])],
        long_description=portable(Path("README.md").read_text(encoding="utf-8")),
        long_description_content_type="text/markdown",
    )
