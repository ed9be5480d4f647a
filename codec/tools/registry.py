"""The tools that need no weights, by name and by the number in a file's header."""

from __future__ import annotations

from codec.bitstream.container import BEST_QUALITY
from codec.errors import UnsupportedVersion
from codec.tools.interface import Pixels, Settings, Tool

LEARNED = "learned"
LEARNED_NUMBER = 0


class Av1Tool:
    """AV1 still pictures; see tools.av1."""

    name = "av1"
    number = 1

    def encode(self, pixels: Pixels, settings: Settings) -> bytes:
        from codec.tools import av1

        return av1.encode_quality(pixels, settings.quality, settings.effort)

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> Pixels:
        from codec.tools import av1

        return av1.decode(payload, *shape[:2])


class LosslessWebpTool:
    """Lossless WebP; see tools.vp8l."""

    name = "webp-lossless"
    number = 2

    def encode(self, pixels: Pixels, settings: Settings) -> bytes:
        from codec.tools import vp8l

        return vp8l.encode(pixels, effort=settings.effort)

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> Pixels:
        from codec.tools import vp8l

        return vp8l.decode(payload, *shape)


class PaletteTool:
    """Palettes and context-coded indexes; see tools.palette."""

    name = "palette"
    number = 3

    def encode(self, pixels: Pixels, settings: Settings) -> bytes:
        from codec.tools import palette

        return palette.encode(pixels, quality=settings.quality, effort=settings.effort)

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> Pixels:
        from codec.tools import palette

        return palette.decode(payload, *shape)


TOOLS: tuple[Tool[Settings], ...] = (Av1Tool(), LosslessWebpTool(), PaletteTool())
NAMES = {LEARNED_NUMBER: LEARNED} | {tool.number: tool.name for tool in TOOLS}
# Tools that return the same pixels at quality 100.
LOSSLESS = ("webp-lossless", "palette")


def tool_named(name: str) -> Tool[Settings]:
    """The tool of this name. Raises KeyError."""
    return next(tool for tool in TOOLS if tool.name == name)


def tool_numbered(number: int) -> Tool[Settings]:
    """The tool of a file's header. Raises UnsupportedVersion."""
    for tool in TOOLS:
        if tool.number == number:
            return tool
    raise UnsupportedVersion(
        f"the file was coded by tool {number}, which this program does not have; update it"
    )


def is_lossless(name: str, quality: float) -> bool:
    """Whether a tool at this quality returns the same pixels."""
    return name in LOSSLESS and (quality >= BEST_QUALITY or name == "webp-lossless")
