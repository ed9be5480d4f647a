"""The tools that need no weights, by name and by the number in a file's header."""

from __future__ import annotations

from codec.errors import UnsupportedVersion
from codec.tools.interface import DEFAULT_EFFORT, Pixels, ScreenTool, Settings
from codec.tools.names import AV1, NUMBERS, PALETTE

# libaom speeds by effort 0..9. Against speed 6 on screens: speed 8 +57 % bytes, 7 +14 %, 5 -8 % in
# 2.9 times the time, 4 -15 % in 4.4 times the time.
AV1_SPEEDS = (9, 8, 8, 7, 6, 6, 5, 5, 4, 3)
# Pixels. Two rows of tiles save 12 % of the time and take 2 % more bytes (12 of train/screens).
LARGE = 1 << 20


class Av1Tool:
    """AV1 still pictures; see tools.av1."""

    name = AV1
    number = NUMBERS[AV1]

    def encode(self, pixels: Pixels, settings: Settings) -> bytes:
        from codec.tools import av1
        from codec.tools.quality import av1_index

        scan = settings.content == "text scan"
        index = av1_index(settings.quality, settings.content)
        # 4:4:4 saves 3.4 % on graphics; coloured paper of scans needs no fine chroma.
        sampling: av1.Subsampling = "4:2:0" if scan else "4:4:4"
        speed = AV1_SPEEDS[settings.effort]
        # Paper needs no more bits than ink: one quality for all blocks reads as many words in 15 %
        # fewer bytes (Tesseract, 10 receipts of train/text). Graphics need 15 % more that way for
        # the same tokens (9 of train/screens).
        large = pixels.shape[0] * pixels.shape[1] >= LARGE and settings.effort <= DEFAULT_EFFORT
        return av1.encode(
            pixels,
            index,
            subsampling=sampling,
            speed=speed,
            vary_quality=not scan,
            tile_rows=2 if large else 1,
        )

    def trials(self, pixels: Pixels, settings: Settings) -> list[tuple[bytes, Pixels]]:
        payload = self.encode(pixels, settings)
        return [(payload, self.decode(payload, pixels.shape))]  # type: ignore[arg-type]

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> Pixels:
        from codec.tools import av1

        return av1.decode(payload, *shape[:2])


class PaletteTool:
    """Merged colours and lossless WebP; see tools.palette."""

    name = PALETTE
    number = NUMBERS[PALETTE]

    def encode(self, pixels: Pixels, settings: Settings) -> bytes:
        from codec.tools import palette

        return palette.encode(pixels, quality=settings.quality, effort=settings.effort)

    def trials(self, pixels: Pixels, settings: Settings) -> list[tuple[bytes, Pixels]]:
        from codec.tools import palette

        small = settings.content == "small picture"
        radii = palette.SMALL_RADII if small else palette.TRIED_RADII
        return palette.trials(pixels, effort=settings.effort, radii=radii)

    def decode(self, payload: bytes, shape: tuple[int, int, int]) -> Pixels:
        from codec.tools import palette

        return palette.decode(payload, *shape)


TOOLS: tuple[ScreenTool, ...] = (Av1Tool(), PaletteTool())


def tool_named(name: str) -> ScreenTool:
    """The tool of this name. Raises KeyError."""
    return next(tool for tool in TOOLS if tool.name == name)


def tool_numbered(number: int) -> ScreenTool:
    """The tool of a file's header. Raises UnsupportedVersion."""
    for tool in TOOLS:
        if tool.number == number:
            return tool
    raise UnsupportedVersion(
        f"the file was coded by tool {number}, which this program does not have; update it"
    )
